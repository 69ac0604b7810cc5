//! What the crate withstands, and the test that tries it. Attacks on tokens are in `tokens`, by what
//! is wrong with them: `algorithms`, `keys`, `form`, `claims`. The others:
//!
//! | a cached token | test |
//! |---|---|
//! | that was revoked | `token_cache::a_known_token_is_rejected_once_it_or_its_subject_was_revoked`, `token_cache::a_known_token_is_rejected_once_its_session_was_ended` |
//! | that has expired, or whose clock went back | `token_cache::a_known_token_is_rejected_once_it_has_expired_or_the_clock_went_back` |
//! | whose key has retired | `token_cache::a_known_token_is_rejected_once_its_key_has_retired` |
//! | of two validators with different policies | `token_cache::two_validators_with_different_rules_share_nothing` |
//! | that garbage is to flush out | `token_cache::garbage_pushes_no_good_token_out` |
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
//!
//! | one-time passwords | test |
//! |---|---|
//! | 1,000 tries at once | `exchange::of_a_thousand_tries_at_once_no_more_than_the_limit_are_compared` |
//! | one right code at once, many times | `exchange::one_code_is_good_for_one_201_however_many_present_it_at_once` |
//! | reuse | `attacks::one_time_passwords::a_code_that_was_used_is_never_good_again` |
//! | use for another session | `attacks::one_time_passwords::the_code_of_one_session_is_nothing_to_another_of_the_same_customer` |
//! | after its end, and when the clock steps back | `attacks::one_time_passwords::an_expired_code_stays_so_though_the_clock_steps_back`, `attacks::one_time_passwords::a_clock_that_steps_back_wins_neither_tries_nor_codes` |
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
//! | to fill every node's memory by logging in and out | `attacks::life::who_starts_and_logs_out_over_and_over_leaves_nothing_in_any_nodes_memory` |
//!
//! | secrets | test |
//! |---|---|
//! | read with another user's, an entity's or a customer's token | `users_and_entities::authorization::who_may_not_manage_an_entity_is_not_told_whether_it_exists` |
//! | two resets at once | `users_and_entities::races::of_resets_at_once_one_wins_and_all_callers_are_told_its_secret` |
//! | the old one after the overlap | `users_and_entities::secrets::a_policy_lets_the_old_secret_live_on_for_a_while` |
//! | a sealed text moved to another entity | `model::sealing::tests::a_sealed_text_opens_only_where_it_was_sealed_for`, `attacks::secrets::a_secret_that_was_moved_to_another_entity_is_of_no_use_there` |
//! | the sealing key rotated | `attacks::secrets::a_sealing_key_is_rotated_while_secrets_and_codes_stay_good` |
//!
//! | input | test |
//! |---|---|
//! | a body of 16 KiB and a byte | `users_and_entities::bodies::a_body_of_over_16_kibibytes_is_a_413_whether_announced_or_chunked` |
//! | a body that comes slowly | `users_and_entities::bodies::a_body_that_does_not_arrive_in_time_is_a_408` |
//! | another media type or charset | `users_and_entities::bodies::another_media_type_is_a_415_in_the_familys_words`, `users_and_entities::bodies::a_media_type_has_no_case_and_may_say_that_it_is_utf_8` |
//! | fields in brackets, fields and names twice | `users_and_entities::bodies::unknown_fields_are_ignored`, `users_and_entities::bodies::a_form_with_a_field_twice_is_rejected`, `users_and_entities::bodies::json_is_read_strictly` |
//! | arrays for text, NUL, what is no UTF-8 | `users_and_entities::tokens::a_credential_is_a_string_and_nothing_that_could_be_made_into_one`, `users_and_entities::bodies::a_form_that_is_no_utf_8_is_rejected` |
//! | a password of a megabyte | `users_and_entities::bodies::a_password_or_secret_of_over_a_kibibyte_is_a_400_and_one_of_a_megabyte_a_413` |
//! | two `Authorization` headers, other cases, tabs and blanks | `layers::validate::credentials_that_cannot_be_read_are_a_400`, `users_and_entities::authorization::the_scheme_has_no_case_and_more_than_one_blank_behind_it` |
//! | a token in the query | `attacks::input::a_token_in_the_query_is_not_looked_at` |
//! | an answer that is many times as long as the request | `attacks::input::a_list_that_is_wrong_all_over_is_told_so_in_few_words` |
//! | traversal and percent-encoding in a path | `sessions::single_session::whatever_bytes_a_token_is_made_of_it_is_a_404_where_no_session_answers_to_it` |
//!
//! | load, faults and leaks | test |
//! |---|---|
//! | a flood of logins | `users_and_entities::hashing_queue::secrets_and_tokens_are_checked_while_no_password_can_be_hashed`; p99 measured by the benchmark `abuse` |
//! | random tokens, names and addresses | `token_cache::memory_is_bounded_and_what_has_no_room_is_checked_again`, `service::throttle::tests`; measured by the benchmark `abuse` |
//! | a store that is down, slow, or fails half-way | `users_and_entities::store_faults::a_store_out_of_reach_is_a_503_and_when_it_is_back_all_goes_on`, `users_and_entities::store_faults::a_store_that_never_answers_is_a_503_at_the_deadline`, `attacks::exchange::a_store_that_fails_or_hangs_at_any_step_is_a_503_and_uses_nothing_up`, and against real engines `engine_faults` |
//! | the feed of revocations cut | `housekeeping::tokens_are_rejected_while_the_feed_has_been_silent_for_too_long_and_no_longer` |
//! | `kill -9` at any moment | `nodes::over_postgres_a_session_is_exchanged_once_though_nodes_are_killed`, and over the other stores |
//! | secrets in logs, spans, metrics, `Debug` and stores | `observability::no_secret_is_in_any_log_span_metric_error_or_dump_whatever_route_is_driven`, `redaction::secrets_and_keys_are_redacted` |

mod exchange;
mod guessing;
mod input;
mod life;
mod one_time_passwords;
mod secrets;
mod service;
mod tokens;
