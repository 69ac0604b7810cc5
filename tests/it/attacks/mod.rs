//! What the crate withstands, and the test that tries it. Attacks on tokens are in `tokens`, by what
//! is wrong with them: `algorithms`, `keys`, `form`, `claims`; those of a trusted issuer are in `trusted`. The others:
//!
//! | a cached token | test |
//! |---|---|
//! | that was revoked | `token_cache::a_known_token_is_rejected_once_it_or_its_subject_was_revoked`, `token_cache::a_known_token_is_rejected_once_its_session_was_ended` |
//! | that has expired, or whose clock went back | `token_cache::a_known_token_is_rejected_once_it_has_expired_or_the_clock_went_back` |
//! | whose key has retired | `token_cache::a_known_token_is_rejected_once_its_key_has_retired` |
//! | of two validators with different policies | `token_cache::two_validators_with_different_rules_share_nothing` |
//! | that garbage is to flush out | `token_cache::garbage_pushes_no_good_token_out` |
//!
//! | a revoked token that outlives its revocation | test |
//! |---|---|
//! | after a restart with shorter lifetimes | `lifetimes::over_memory_a_restart_with_shorter_lifetimes_revives_no_revoked_token`, `lifetimes::over_sqlite_a_restart_with_shorter_lifetimes_revives_no_revoked_token` |
//! | over any sequence of policies, where a longer life waits for the end of former longer tokens | `lifetimes::no_sequence_of_policies_and_time_has_a_revoked_token_accepted` |
//! | while nodes differ in their lifetimes | `lifetimes::lifetimes_are_raised_in_two_steps_and_in_one_a_revocation_is_forgotten_too_early`, `lifetimes::lifetimes_are_lowered_in_two_steps_without_rejecting_a_good_token_or_reviving_another` |
//! | one that is known to a validator | `lifetimes::a_token_that_another_validator_accepted_is_judged_by_its_life_again` |
//!
//! | guessing | test |
//! |---|---|
//! | why a login fails, told by status, headers or body | `users_and_entities::tokens::why_a_user_gets_no_token_cannot_be_told`, `users_and_entities::tokens::why_an_entity_gets_no_token_cannot_be_told`, `sessions::login::why_a_customer_is_not_logged_in_cannot_be_told` |
//! | told by the time taken | `users_and_entities::hashing_queue::logins_of_unknown_names_wait_and_are_rejected_like_all_others`; measured by the benchmark `abuse` |
//! | another way of writing the name | `attacks::guessing::a_throttle_is_not_bypassed_by_case_blanks_normalisation_homoglyphs_or_nul` |
//! | another address that the client claims | `attacks::guessing::a_throttle_is_not_bypassed_by_what_a_client_says_of_its_address` |
//! | another route that checks the same secret | `attacks::guessing::a_throttle_is_not_bypassed_by_the_other_routes_that_check_the_same_secret` |
//! | a subnet of IPv6 as so many addresses | `service::throttle::tests::a_subnet_of_ipv6_is_one_address` |
//! | 1,000 guesses at once | `attacks::guessing::a_thousand_guesses_at_once_count_as_a_thousand`, `attacks::guessing::a_thousand_guesses_at_a_secret_at_once_count_as_a_thousand` |
//! | to keep the owner out by guessing | `attacks::guessing::a_guesser_elsewhere_does_not_keep_the_owner_out`, `attacks::guessing::where_the_guesses_come_from_the_owner_has_to_wait_and_then_gets_in` |
//! | many names from one address | `attacks::guessing::names_sprayed_from_one_address_are_throttled_by_the_address` |
//! | who has logged in from an address, or exists, told by 401 against 429 where it is used up | `attacks::oracles::an_exhausted_address_gets_one_answer_whether_or_not_a_name_exists_or_has_logged_in_there`, `attacks::oracles::an_exhausted_address_gets_one_answer_to_changes_of_passwords_too`, `service::throttle::tests::what_a_guess_is_told_at_an_address_is_the_same_whether_or_not_its_name_has_logged_in_there` |
//! | the same, told by how much of the address's limit a guess takes | `attacks::oracles::guesses_at_a_name_count_against_the_address_alike_whether_or_not_it_has_logged_in_there` |
//!
//! | one-time passwords | test |
//! |---|---|
//! | 1,000 tries at once | `exchange::of_a_thousand_tries_at_once_no_more_than_the_limit_are_compared` |
//! | one right code at once, many times | `exchange::one_code_is_good_for_one_201_however_many_present_it_at_once` |
//! | reuse | `attacks::one_time_passwords::a_code_that_was_used_is_never_good_again` |
//! | use for another session | `attacks::one_time_passwords::the_code_of_one_session_is_nothing_to_another_of_the_same_customer` |
//! | after its end, and when the clock steps back | `attacks::one_time_passwords::an_expired_code_stays_so_though_the_clock_steps_back`, `attacks::one_time_passwords::a_clock_that_steps_back_wins_neither_tries_nor_codes` |
//! | the password without the code, at the look-up of a session and in a host's handler | `attacks::password_alone::verifying_a_token_says_whether_its_one_time_password_is_still_wanted`, `attacks::password_alone::a_handler_that_goes_by_a_session_lets_nobody_in_by_the_password_alone`, `attacks::password_alone::a_list_tells_sessions_whose_code_is_wanted_from_the_others` |
//! | the password without the code, to change the password | `attacks::password_alone::a_password_that_is_no_longer_secret_changes_nothing_without_the_code` |
//! | the same with the code of another's session, or one that was used | `attacks::password_alone::the_code_of_anothers_session_changes_no_password_and_costs_it_no_try`, `attacks::password_alone::a_code_changes_one_password_once_and_is_exchanged_for_nothing_after_that` |
//! | more tries by changing the password | `attacks::password_alone::wrong_codes_count_alike_whether_they_are_to_change_a_password_or_to_be_exchanged` |
//! | one code for two fresh sessions, or for one and an exchange | `attacks::confirmation::of_many_that_present_one_code_at_once_one_is_served`, `attacks::confirmation::of_many_that_confirm_one_code_on_several_nodes_one_gets_a_session` |
//! | the same by crashes, lost answers and hanging up | `attacks::confirmation::a_node_that_dies_between_any_two_steps_leaves_the_code_to_one`, `attacks::confirmation::a_write_whose_answer_is_lost_yields_no_second_session`, `attacks::confirmation::who_hangs_up_while_the_fresh_session_is_written_leaves_one_at_most` |
//! | a session that outlives what ended the one that it came of | `attacks::confirmation::who_logs_the_customer_out_everywhere_at_that_moment_ends_both`, `attacks::confirmation::a_log_out_of_all_that_began_before_the_code_was_typed_ends_the_fresh_session` |
//! | codes that are sent again | `sessions::one_time_passwords::wrong_tries_go_on_counting_over_codes_that_are_sent_again`, `attacks::one_time_passwords::codes_that_are_sent_again_or_fail_to_be_do_not_reset_the_count` |
//!
//! | exchange | test |
//! |---|---|
//! | 1,000 at once on several nodes | `attacks::exchange::of_a_thousand_exchanges_at_once_on_several_nodes_one_is_a_201` |
//! | a crash between any two steps | `attacks::exchange::a_crash_between_any_two_steps_uses_nothing_up`, `attacks::exchange::a_crash_behind_the_last_step_loses_the_answer_and_never_yields_two` |
//! | using a token up by requests that fail | `exchange::a_request_that_fails_does_not_use_the_token_up` |
//! | a wider list by `*`, case or another scope key | `exchange::without_a_bearer_the_list_may_only_be_narrowed`, `attacks::exchange::a_list_is_not_widened_by_stars_escapes_case_empty_segments_or_unknown_keys` |
//! | empty lists, and permissions that only look like patterns | `exchange::a_list_that_is_malformed_is_a_422_that_names_every_fault` |
//! | 10,000 entries | `exchange::ten_thousand_entries_are_rejected_by_size` |
//! | custom claims named like registered ones | `attacks::exchange::custom_claims_named_like_registered_ones_stand_under_custom_claims_alone` |
//! | custom claims that a bearer who may start sessions or widen exchanges makes up | `attacks::custom_claims::a_bearer_who_may_start_sessions_and_widen_exchanges_does_not_say_who_somebody_is`, `attacks::custom_claims::one_rule_decides_for_whoever_asks_and_whatever_the_policy_at_a_start_and_at_an_exchange` |
//! | custom claims in place of the host's | `attacks::custom_claims::what_the_host_has_set_is_changed_by_no_open_name_and_no_bearer` |
//! | an expiry in the past, far away, or written oddly | `attacks::exchange::an_expiry_is_an_instant_within_bounds_however_it_is_written` |
//!
//! | what outlives what | test |
//! |---|---|
//! | log-out after the exchange used the token up | `attacks::life::a_customer_logs_out_after_the_exchange_has_used_the_token_up`, `attacks::life::an_exchange_whose_answer_was_lost_can_be_logged_out` |
//! | log-out while an exchange is under way | `attacks::life::a_log_out_that_races_with_an_exchange_leaves_no_token_behind` |
//! | to fill a store with sessions | `attacks::life::one_session_more_than_a_customer_may_have_is_a_429_until_one_has_ended`, `attacks::life::one_session_more_than_a_bearer_may_start_is_a_429` |
//! | sessions of a starter that was revoked | `attacks::life::what_a_bearer_has_started_ends_with_the_bearer`, `attacks::life::a_session_that_is_written_after_its_starter_was_revoked_is_not_live` |
//! | another tenant's customer of the same id | `attacks::life::a_namesake_in_another_organization_is_neither_logged_out_nor_removed`, `attacks::life::wrong_codes_for_a_namesake_elsewhere_block_nobody` |
//! | a session started for another organization's customer | `attacks::life::a_bearer_of_an_organization_names_no_customer_that_is_not_its_own` |
//! | a permission that was taken away | `attacks::shut_out::a_permission_that_is_taken_away_is_gone_with_the_next_request`, `attacks::shut_out::what_a_customer_may_no_longer_do_is_in_no_token_of_a_session_from_before`, `attacks::shut_out::an_exchange_gives_no_more_than_the_credential_holds_now_whoever_has_changed_it` |
//! | a disabled or blocked principal through each way of issuing | `attacks::shut_out::whoever_is_disabled_gets_no_token_by_any_way_of_issuing`, `attacks::shut_out::whoever_is_blocked_gets_nothing_until_the_time_has_come` |
//! | a token of a node whose clock is ahead of the one that disables its principal | `attacks::shut_out::a_token_of_a_node_whose_clock_is_a_little_ahead_ends_with_its_principal` |
//! | a node that has not heard of a block | `attacks::shut_out::a_node_that_has_not_heard_whom_others_block_issues_nothing` |
//! | a block by the opaque id, and a grant by name | `attacks::shut_out::a_block_by_an_opaque_id_reaches_a_grant_by_name` |
//! | a login that is denied after the handler has granted it | `attacks::shut_out::a_login_that_a_handler_or_layer_turns_into_an_error_issues_nothing` |
//! | a leaked secret within the overlap of its reset | `attacks::shut_out::a_secret_that_was_replaced_is_not_good_again_after_a_disabling_or_an_import` |
//! | a session whose list fits into no token | `attacks::shut_out::a_list_that_leaves_a_token_no_room_is_rejected_before_it_is_stored` |
//! | a log-out of the wrong kind of principal | `attacks::shut_out::a_log_out_of_somebody_who_is_not_known_says_so`, `attacks::shut_out::a_log_out_that_names_another_organization_than_the_registered_one_shuts_nobody_out` |
//! | to fill every node's memory by logging in and out | `attacks::life::who_starts_and_logs_out_over_and_over_leaves_nothing_in_any_nodes_memory` |
//!
//! | secrets | test |
//! |---|---|
//! | read with another user's, an entity's or a customer's token | `users_and_entities::authorization::who_may_not_manage_an_entity_is_not_told_whether_it_exists` |
//! | read with a token that was stolen long ago, or many at once | `attacks::secrets::a_users_token_that_is_too_old_for_the_policy_reads_and_resets_no_secret`, `attacks::secrets::one_user_reads_and_resets_no_more_secrets_than_the_policy_lets_them` |
//! | the crate's own operations with a customer's token, or by a `*` that was meant for others | `attacks::own_operations::whatever_its_list_says_a_customers_token_reaches_no_operation_and_a_machines_no_secret`, `attacks::own_operations::where_the_policy_wants_them_named_no_wildcard_grants_an_own_operation` |
//! | one of them given by who holds it by a wildcard | `attacks::own_operations::who_holds_an_own_operation_by_a_wildcard_gives_it_to_nobody_where_it_has_to_be_named` |
//! | two resets at once | `users_and_entities::races::of_resets_at_once_one_wins_and_all_callers_are_told_its_secret` |
//! | the old one after the overlap | `users_and_entities::secrets::a_policy_lets_the_old_secret_live_on_for_a_while` |
//! | a sealed text moved to another entity | `model::sealing::tests::a_sealed_text_opens_only_where_it_was_sealed_for`, `attacks::secrets::a_secret_that_was_moved_to_another_entity_is_of_no_use_there` |
//! | the sealing key rotated | `attacks::secrets::a_sealing_key_is_rotated_while_secrets_and_codes_stay_good` |
//!
//! | input | test |
//! |---|---|
//! | a body of 16 KiB and a byte | `users_and_entities::bodies::a_body_of_over_16_kibibytes_is_a_413_whether_announced_or_chunked`, `users_and_entities::bodies::a_body_that_is_announced_as_too_long_is_a_413_before_anything_of_it_comes`, `sessions::routes::a_body_that_is_announced_as_too_long_is_a_413_before_anything_of_it_comes` |
//! | a body that comes slowly | `users_and_entities::bodies::a_body_that_does_not_arrive_in_time_is_a_408` |
//! | another media type or charset | `users_and_entities::bodies::another_media_type_is_a_415_in_the_familys_words`, `users_and_entities::bodies::a_media_type_has_no_case_and_may_say_that_it_is_utf_8` |
//! | fields in brackets, fields and names twice | `users_and_entities::bodies::unknown_fields_are_ignored`, `users_and_entities::bodies::a_body_with_a_field_twice_is_rejected_and_told_which`, `users_and_entities::bodies::json_is_read_strictly` |
//! | arrays for text, NUL, what is no UTF-8 | `users_and_entities::tokens::a_credential_is_a_string_and_nothing_that_could_be_made_into_one`, `users_and_entities::bodies::a_form_that_is_no_utf_8_is_rejected` |
//! | a password of a megabyte | `users_and_entities::bodies::a_password_or_secret_of_over_a_kibibyte_is_a_400_and_one_of_a_megabyte_a_413` |
//! | two `Authorization` headers, other cases, tabs and blanks | `layers::validate::credentials_that_cannot_be_read_are_a_400`, `users_and_entities::authorization::the_scheme_has_no_case_and_more_than_one_blank_behind_it` |
//! | a token in the query | `attacks::input::a_token_in_the_query_is_not_looked_at` |
//! | an answer that is many times as long as the request | `attacks::input::a_list_that_is_wrong_all_over_is_told_so_in_few_words` |
//! | traversal and percent-encoding in a path | `sessions::single_session::whatever_bytes_a_token_is_made_of_it_is_a_404_where_no_session_answers_to_it` |
//!
//! | tenancy | test |
//! |---|---|
//! | a principal of one organization with a list that is not scoped, on another's route, through each layer and extractor | `attacks::tenancy::a_caller_of_one_organization_gets_nothing_on_the_routes_of_another`, `properties::acl::a_principal_of_an_organization_holds_its_list_as_if_each_entry_were_scoped_to_it` |
//! | the same where the route names no organization | `attacks::tenancy::where_no_organization_is_named_a_bound_caller_holds_nothing_but_in_its_own` |
//! | the same at an exchange | `attacks::tenancy::a_list_that_is_not_scoped_gives_no_more_than_the_organization_at_an_exchange`, `properties::acl::an_exchange_gives_what_lies_within_the_list_as_its_organization_holds_it` |
//! | a mount or layer told to read a parameter that the route does not have, or has twice | `attacks::tenancy::a_parameter_that_the_route_does_not_have_is_a_500_that_names_it`, `attacks::tenancy::the_router_serves_nobody_where_it_is_mounted_below_a_parameter_that_it_does_not_read`, `attacks::tenancy::a_layer_outside_of_the_router_that_is_to_read_a_parameter_is_a_500` |
//! | a fallback behind such a layer | `attacks::tenancy::what_a_fallback_answers_is_of_no_organization` |
//! | a host's own login below another organization | `attacks::tenancy::a_handlers_context_is_confined_to_the_organization_in_its_path`, `attacks::tenancy::a_context_below_a_parameter_that_may_be_a_tenant_finds_nothing_where_one_is_required` |
//! | a session of a tenant's customer, started by who is bound to none | `attacks::tenancy::a_session_on_a_bearers_word_belongs_to_the_organization_that_the_host_has_named`, `attacks::tenancy::a_start_that_names_no_organization_is_rejected_where_one_is_required` |
//! | a token for a registered name in another organization | `attacks::tenancy::a_token_is_issued_in_the_organization_of_the_registered_machine_client_alone` |
//! | a token that a host has kept | `attacks::shut_out::a_token_that_a_host_has_kept_does_nothing_once_it_is_no_longer_accepted` |
//! | an operation that was named and is named no more | `attacks::shut_out::an_operation_that_was_named_and_is_not_any_more_is_taken_away` |
//! | an organization that was forgotten | `attacks::tenancy::where_an_organization_is_required_what_says_none_gets_nothing`, `attacks::tenancy::who_was_registered_without_an_organization_gets_no_token_once_one_is_required`, `remote_issuers::a_mapping_that_names_no_organization_is_rejected_where_one_is_required` |
//!
//! | who somebody is | test |
//! |---|---|
//! | a partner's subject named like a user of ours, a machine like a customer, two organizations' customers of one id | `attacks::principals::whoever_shares_a_name_is_somebody_else` |
//! | a name that looks like another's, or is the same to a database that compares without case | `attacks::names::who_registers_a_look_alike_of_a_name_is_rejected`; raced on every engine by `store::conformance` |
//! | a namesake in another organization, at each other's login, disabled, removed, logged out or guessed at | `attacks::namesakes::each_namesake_logs_in_at_their_own_organization_by_their_own_password`, `attacks::namesakes::what_is_done_to_one_namesake_leaves_the_others_alone`, `attacks::namesakes::guesses_at_one_namesake_delay_nobody_else` |
//! | the id of another organization's machine client | `attacks::namesakes::a_name_is_registered_once_in_an_organization_and_the_id_of_a_machine_client_once` |
//! | a name written so that it is another one to a throttle, and the same one to the host's normalization | `attacks::normalized_names::guesses_at_one_user_are_counted_together_however_the_name_is_written` |
//! | a removed user's name, taken by somebody else | `attacks::names::who_takes_a_removed_users_name_gets_nothing_of_what_the_host_kept_for_them` |
//! | a token that names its user otherwise than the policy does now, and was revoked | `attacks::names::what_ends_a_users_tokens_ends_those_that_name_them_in_either_way_on_every_node` |
//! | a user that is blocked or disabled, by the opaque id | `attacks::names::by_an_opaque_id_nobody_is_let_past_what_shuts_the_user_out` |
//! | an opaque id, taken as a name | `attacks::names::machine_clients_and_customers_keep_their_ids_and_no_user_takes_an_opaque_id_as_a_name` |
//! | a partner's token where the host did not ask for it | `remote_issuers::a_subject_elsewhere_is_nobody_here`, `trusting_others::behind_an_exchange_a_trusted_issuers_token_is_treated_as_behind_a_layer_that_validates` |
//! | a customer's permission on a staff route, a machine's token for a customer's | `attacks::principals::a_layer_and_a_handler_admit_the_kinds_of_principals_that_they_name` |
//!
//! | routers | test |
//! |---|---|
//! | a method that is added behind a `route_layer` | `attacks::routers::a_demand_in_the_signature_holds_for_every_method_and_mount`, `attacks::routers::what_is_open_is_found_by_a_test_of_the_host` |
//! | what a layer checks and a handler uses | `attacks::routers::a_handler_finds_what_the_layer_has_checked` |
//! | caches and browsers | test |
//! |---|---|
//! | a shared cache in front of a cookie | `attacks::caches::a_shared_cache_in_front_serves_nobody_the_page_of_another_user`, `attacks::caches::whatever_a_handler_says_of_caches_no_shared_one_stores_what_a_validated_caller_got` |
//! | the back button after a log-out | `attacks::caches::no_history_of_a_browser_keeps_a_page_that_says_nothing_of_caches` |
//! | another origin's form, fetch or WebSocket, same-site subdomains among them | `attacks::browsers::a_cookie_with_an_unsafe_request_or_an_upgrade_counts_for_the_apps_own_pages_alone`; in Chromium, `browser_origins::pages_of_other_origins_get_nothing_with_the_users_cookie` |
//! | the same through a proxy that asks by forward auth | `forward_auth::a_sessions_cookie_counts_by_the_origin_rule_for_the_original_method` |
//! | login CSRF, and log-out by another site | `attacks::browsers::another_site_logs_nobody_in_as_somebody_else`, `attacks::browsers::a_log_out_revokes_the_token_and_removes_the_cookie_and_no_other_site_can_do_it` |
//! | a cookie tossed from a subdomain | `service::http::cookie::tests::a_name_is_a_token_and_begins_with_the_prefix_unless_a_host_takes_the_risk` |
//!
//! | layers as hosts write them | test |
//! |---|---|
//! | a rejection hook that answers 200 | `attacks::layers::no_hook_turns_a_rejection_into_a_success`, `attacks::layers::no_hook_switches_protocols_with_a_rejected_request` |
//! | handlers and upstreams that print or keep credentials | `attacks::layers::what_handlers_print_of_a_request_holds_no_credentials`, `attacks::layers::the_cookie_alone_is_stripped_and_all_others_stay_in_their_order` |
//! | all addresses as trusted proxies | `attacks::layers::all_addresses_are_no_trusted_proxies`, `validate::proxies::tests::all_addresses_are_no_trusted_proxies_however_they_are_written` |
//!
//! | load, faults and leaks | test |
//! |---|---|
//! | a flood of logins | `users_and_entities::hashing_queue::secrets_and_tokens_are_checked_while_no_password_can_be_hashed`; p99 measured by the benchmark `abuse` |
//! | random tokens, names and addresses | `token_cache::memory_is_bounded_and_what_has_no_room_is_checked_again`, `service::throttle::tests`; measured by the benchmark `abuse` |
//! | a store that is down, slow, or fails half-way | `users_and_entities::store_faults::a_store_out_of_reach_is_a_503_and_when_it_is_back_all_goes_on`, `users_and_entities::store_faults::a_store_that_never_answers_is_a_503_at_the_deadline`, `attacks::exchange::a_store_that_fails_or_hangs_at_any_step_is_a_503_and_uses_nothing_up`, and against real engines `engine_faults` |
//! | the feed of revocations cut | `housekeeping::tokens_are_rejected_while_the_feed_has_been_silent_for_too_long_and_no_longer` |
//! | `kill -9` at any moment | `nodes::over_postgres_a_session_is_exchanged_once_though_nodes_are_killed`, and over the other stores |
//! | secrets in logs, spans, metrics, `Debug` and stores | `observability::no_secret_is_in_any_log_span_metric_error_or_dump_whatever_route_is_driven`, `redaction::secrets_and_keys_are_redacted` |

mod browsers;
mod caches;
mod confirmation;
mod custom_claims;
mod exchange;
mod guessing;
mod input;
mod layers;
mod life;
mod names;
mod namesakes;
mod normalized_names;
mod one_time_passwords;
mod oracles;
mod own_operations;
mod password_alone;
mod principals;
mod routers;
mod secrets;
mod service;
mod shut_out;
mod tenancy;
mod tokens;
