use crate::service::model::subject::Subject;
use std::time::Duration;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// The attempts that the default policy admits: for one name from one address, for one address, and for one name.
const FREE: u32 = 10;
const FREE_BY_ADDRESS: u32 = 100;
const FREE_BY_NAME: u32 = 100;

fn start() -> Timestamp {
    Timestamp::from_secs(1_767_225_600)
}

fn throttle() -> Throttle {
    Throttle::new(&Policy::default())
}

fn keys(throttle: &Throttle, name: &str, address: &str) -> ThrottleKeys {
    throttle.keys(SubjectType::User, None, name, Some(address.parse().unwrap()))
}

/// Guesses as fast as it is admitted, for `how_long`; returns the number of admitted guesses.
fn guess_for(throttle: &Throttle, keys: ThrottleKeys, from: Timestamp, how_long: Duration) -> u32 {
    let mut now = from;
    let mut guesses = 0;
    while now < from + how_long {
        match throttle.acquire(keys, now) {
            Ok(_) => guesses += 1,
            Err(error) => now = now + error.retry_after().unwrap(),
        }
    }
    guesses
}

#[test]
fn the_first_failures_are_free_and_each_further_one_doubles_the_wait() {
    let throttle = throttle();
    let ops = keys(&throttle, "ops", "192.0.2.1");
    let mut now = start();
    for _ in 0..FREE {
        throttle.acquire(ops, now).unwrap();
    }
    for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 3_600, 3_600] {
        let error = throttle.acquire(ops, now).unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(seconds)));
        now = now + Duration::from_secs(seconds);
        throttle.acquire(ops, now).unwrap();
    }
}

#[test]
fn an_attempt_that_comes_too_soon_does_not_count() {
    let throttle = throttle();
    let ops = keys(&throttle, "ops", "192.0.2.1");
    for _ in 0..FREE {
        throttle.acquire(ops, start()).unwrap();
    }
    for _ in 0..1_000 {
        assert!(throttle.acquire(ops, start()).is_err());
    }
    assert!(throttle.acquire(ops, start() + Duration::from_secs(1)).is_ok());
}

#[test]
fn a_day_of_guessing_from_one_address_yields_less_than_half_of_what_a_name_may_have() {
    let throttle = throttle();
    let guesses = guess_for(&throttle, keys(&throttle, "ops", "192.0.2.1"), start(), DAY);
    assert!((FREE..FREE_BY_NAME / 2).contains(&guesses), "{guesses}");
}

#[test]
fn what_is_forgotten_is_forgotten_a_window_later() {
    let throttle = throttle();
    let ops = keys(&throttle, "ops", "192.0.2.1");
    for _ in 0..FREE {
        throttle.acquire(ops, start()).unwrap();
    }
    let later = start() + DAY * 2;
    for _ in 0..FREE {
        throttle.acquire(ops, later).unwrap();
    }
    assert!(throttle.acquire(ops, later).is_err());
}

#[test]
fn a_success_gives_back_itself_and_nothing_else() {
    let throttle = throttle();
    let own = keys(&throttle, "own", "192.0.2.1");
    for _ in 0..FREE - 1 {
        throttle.acquire(own, start()).unwrap();
    }
    let permit = throttle.acquire(own, start()).unwrap();
    throttle.succeeded(&permit);
    let permit = throttle.acquire(own, start()).unwrap();
    throttle.failed(&permit);
    assert!(throttle.acquire(own, start()).is_err());
}

#[test]
fn logging_in_to_a_name_that_looks_alike_neither_forgives_nor_makes_its_network_known() {
    let throttle = throttle();
    let victim = keys(&throttle, "ops", "192.0.2.1");
    let lookalike = keys(&throttle, "OPS", "192.0.2.1");
    let mut guesses = 0;
    for _ in 0..1_000 {
        if let Ok(permit) = throttle.acquire(lookalike, start()) {
            throttle.succeeded(&permit);
        }
        guesses += u32::from(throttle.acquire(victim, start()).is_ok());
    }
    assert_eq!(guesses, FREE);
}

#[test]
fn from_where_they_have_logged_in_before_anybody_may_do_so_many_times_at_once() {
    let throttle = throttle();
    let ops = keys(&throttle, "ops", "192.0.2.1");
    throttle.succeeded(&throttle.acquire(ops, start()).unwrap());
    let under_way: Vec<_> = (0..100).map(|_| throttle.acquire(ops, start()).unwrap()).collect();
    for permit in under_way {
        throttle.failed(&permit);
    }
    assert!(throttle.acquire(ops, start()).is_err(), "what was wrong with them counts");
}

#[test]
fn a_ledger_full_of_failing_keys_goes_on_counting_new_ones() {
    let throttle = Throttle::new(&Policy::default().throttle(|throttle| throttle.max_keys(1_000)));
    for number in 0..5_000_u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
        let junk = keys(&throttle, &format!("junk {number}"), &address);
        for _ in 0..3 {
            throttle.acquire(junk, start()).unwrap();
        }
    }
    let ops = keys(&throttle, "ops", "192.0.2.1");
    let guesses = (0..1_000).filter(|_| throttle.acquire(ops, start()).is_ok()).count();
    assert_eq!(guesses, FREE as usize);
}

#[test]
fn readings_of_the_clock_that_come_in_disorder_neither_add_to_a_count_nor_keep_it_alive() {
    let throttle = Throttle::new(&Policy::default().throttle(|throttle| {
        throttle.by_name(ThrottleLimit::new(u32::MAX, Duration::from_secs(60)))
    }));
    let ops = throttle.keys(SubjectType::User, None, "ops", None);
    let key = ops.counted[0].unwrap().1;
    for minute in 1..100 {
        let boundary = start() + MINUTE * minute;
        throttle.acquire(ops, boundary).unwrap();
        throttle.acquire(ops, boundary - Duration::from_micros(1)).unwrap();
    }
    let end = start() + MINUTE * 99;
    let record = throttle.lock().failures.as_of(key, end, MINUTE).unwrap();
    assert!(record.failures(end, MINUTE) <= 4);
}

#[test]
fn wrong_codes_of_one_customer_count_together_and_others_have_their_own() {
    let throttle = throttle();
    let [jane, john] = ["cus_1", "cus_2"].map(|id| Subject::new(SubjectType::Customer, id));
    for _ in 0..FREE {
        throttle.acquire(throttle.keys_of_codes(&jane), start()).unwrap();
    }
    assert!(throttle.acquire(throttle.keys_of_codes(&jane), start()).is_err());
    assert!(throttle.acquire(throttle.keys_of_codes(&john), start()).is_ok());
    assert!(throttle.acquire(throttle.keys_of_sending(&jane), start()).is_ok());
}

#[test]
fn successes_of_ones_own_do_not_let_one_address_guess_more() {
    let throttle = throttle();
    let own = keys(&throttle, "own", "192.0.2.1");
    let mut guesses = 0;
    for number in 0..1_000 {
        if let Ok(permit) = throttle.acquire(own, start()) {
            throttle.succeeded(&permit);
        }
        let victim = keys(&throttle, &format!("victim {number}"), "192.0.2.1");
        guesses += u32::from(throttle.acquire(victim, start()).is_ok());
    }
    assert_eq!(guesses, FREE_BY_ADDRESS);
}

#[test]
fn a_success_makes_nobody_else_at_the_address_wait_longer() {
    let throttle = throttle();
    for number in 0..FREE_BY_ADDRESS {
        let name = format!("name {number}");
        throttle.acquire(keys(&throttle, &name, "192.0.2.1"), start()).unwrap();
    }
    let later = start() + MINUTE;
    let owner = keys(&throttle, "owner", "192.0.2.1");
    for _ in 0..10 {
        let permit = throttle.acquire(owner, later).unwrap();
        throttle.succeeded(&permit);
    }
}

/// An operation from one address.
#[derive(Clone, Copy, Debug)]
enum Step {
    Spray(u64),
    Guess,
    Wait(Duration),
}

/// Returns a deterministic sequence of steps for each number.
fn steps(seed: u64) -> Vec<Step> {
    let mut state = seed;
    // Constants of Knuth's MMIX.
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let step = |kind: u64, number: u64| match kind % 4 {
        0 => Step::Spray(number % 120),
        1 => Step::Wait(Duration::from_millis(number % 1_200_000)),
        2 => Step::Wait(Duration::from_secs(number % 100_000)),
        _ => Step::Guess,
    };
    (0..80).map(|_| step(random(), random())).collect()
}

/// Performs the steps with guesses at "ops", and returns the delay of each guess.
fn told(throttle: &Throttle, steps: &[Step]) -> Vec<Option<Duration>> {
    let ops = keys(throttle, "ops", "192.0.2.1");
    let (mut now, mut sprayed) = (start() + DAY, 0);
    let mut told = Vec::new();
    for step in steps {
        match *step {
            Step::Spray(count) => {
                for _ in 0..count {
                    sprayed += 1;
                    let name = format!("sprayed {sprayed}");
                    let _ = throttle.acquire(keys(throttle, &name, "192.0.2.1"), now);
                }
            }
            Step::Guess => {
                let guess = throttle.acquire(ops, now).map(|permit| throttle.failed(&permit));
                told.push(guess.err().and_then(|error| error.retry_after()));
            }
            Step::Wait(time) => now = now + time,
        }
    }
    told
}

#[test]
fn what_a_guess_is_told_at_an_address_is_the_same_whether_or_not_its_name_has_logged_in_there() {
    let mut waits = 0;
    for seed in 0..500 {
        let steps = steps(seed);
        let (known, unknown) = (throttle(), throttle());
        let ops = keys(&known, "ops", "192.0.2.1");
        known.succeeded(&known.acquire(ops, start()).unwrap());
        let told_of_known = told(&known, &steps);
        assert_eq!(told_of_known, told(&unknown, &steps), "{steps:?}");
        waits += told_of_known.iter().flatten().count();
    }
    assert!(waits > 500, "{waits}");
}

#[test]
fn who_shares_an_address_with_an_attacker_is_delayed_and_gets_in_where_they_ask_first() {
    let throttle = throttle();
    let owner = keys(&throttle, "owner", "192.0.2.1");
    throttle.succeeded(&throttle.acquire(owner, start()).unwrap());
    let (mut let_in, mut longest_wait) = (0, Duration::ZERO);
    // Both retry once a second, the owner at a different fraction of it each time.
    for second in 0..3_600_u32 {
        let now = start() + Duration::from_secs(1) * second;
        let sprayed = keys(&throttle, &format!("sprayed {second}"), "192.0.2.1");
        let _ = throttle.acquire(sprayed, now);
        match throttle.acquire(owner, now + Duration::from_millis(u64::from(second * 37 % 1_000))) {
            Ok(permit) if second > FREE_BY_ADDRESS => {
                throttle.succeeded(&permit);
                let_in += 1;
            }
            Ok(permit) => throttle.succeeded(&permit),
            Err(error) => longest_wait = longest_wait.max(error.retry_after().unwrap()),
        }
    }
    assert!(let_in >= 10, "{let_in}");
    assert!(longest_wait <= MINUTE * 15, "{longest_wait:?}");
}

#[test]
fn one_networks_guesses_do_not_shut_the_owner_out_elsewhere() {
    let throttle = throttle();
    let attacker = keys(&throttle, "ops", "2001:db8::1");
    let owner = keys(&throttle, "ops", "192.0.2.1");
    for day in 0..5 {
        guess_for(&throttle, attacker, start() + DAY * day, DAY);
        assert!(throttle.acquire(owner, start() + DAY * (day + 1)).is_ok());
    }
}

#[test]
fn many_networks_guesses_do_not_shut_the_owner_out_where_they_have_logged_in_before() {
    let throttle = throttle();
    let owner = keys(&throttle, "ops", "192.0.2.1");
    let permit = throttle.acquire(owner, start()).unwrap();
    throttle.succeeded(&permit);
    let mut guesses = 0;
    for number in 0..1_000 {
        let attacker = keys(&throttle, "ops", &format!("198.51.{}.{}", number / 250, number % 250));
        guesses += u32::from(throttle.acquire(attacker, start()).is_ok());
    }
    assert_eq!(guesses, FREE_BY_NAME);
    assert!(throttle.acquire(owner, start()).is_ok());
    let stranger = keys(&throttle, "ops", "203.0.113.1");
    assert!(throttle.acquire(stranger, start()).is_err(), "they cannot be told from the attacker");
}

#[test]
fn a_subnet_of_ipv6_is_one_address() {
    let throttle = throttle();
    for number in 0..FREE_BY_ADDRESS {
        let name = format!("name {number}");
        let address = format!("2001:db8:1:2::{number:x}");
        throttle.acquire(keys(&throttle, &name, &address), start()).unwrap();
    }
    assert!(throttle.acquire(keys(&throttle, "x", "2001:db8:1:2:3::"), start()).is_err());
    assert!(throttle.acquire(keys(&throttle, "x", "2001:db8:1:3::"), start()).is_ok());
}

#[test]
fn a_clock_that_is_put_back_makes_nobody_wait_for_it() {
    let throttle = throttle();
    let ops = keys(&throttle, "ops", "192.0.2.1");
    for _ in 0..=FREE {
        let now = start() + DAY * 365;
        let _ = throttle.acquire(ops, now);
    }
    let error = throttle.acquire(ops, start()).unwrap_err();
    let wait = error.retry_after().unwrap();
    assert!(wait <= Duration::from_secs(3_600));
    assert!(throttle.acquire(ops, start() + wait).is_ok());
}

#[test]
fn what_nothing_was_compared_for_is_given_back_wherever_it_counted() {
    let throttle = throttle();
    let ops = keys(&throttle, "ops", "192.0.2.1");
    for _ in 0..100 {
        let permit = throttle.acquire(ops, start()).unwrap();
        throttle.give_back(&permit);
    }
    assert!(throttle.lock().failures.is_empty());
}

#[test]
fn beyond_the_maximum_what_has_failed_least_goes_first() {
    let throttle = Throttle::new(&Policy::default().throttle(|throttle| throttle.max_keys(1_000)));
    let guessed = keys(&throttle, "ops", "192.0.2.1");
    for _ in 0..FREE {
        throttle.acquire(guessed, start()).unwrap();
    }
    for number in 0..10_000_u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
        let random = keys(&throttle, &format!("random {number}"), &address);
        throttle.acquire(random, start()).unwrap();
    }
    let ledgers = throttle.lock();
    assert!(ledgers.failures.len() <= 1_000);
    drop(ledgers);
    assert!(throttle.acquire(guessed, start()).is_err());
}

#[test]
fn purging_forgets_what_no_longer_counts() {
    let throttle = throttle();
    let ops = keys(&throttle, "ops", "192.0.2.1");
    throttle.acquire(ops, start()).unwrap();
    throttle.purge(start() + DAY);
    assert!(!throttle.lock().failures.is_empty());
    throttle.purge(start() + DAY * 3);
    assert!(throttle.lock().failures.is_empty());
}

#[test]
fn a_network_of_ipv4_is_one_address_however_it_is_written() {
    let network = |text: &str| network_of(text.parse().unwrap());
    assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
    assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
}

#[test]
fn what_is_given_back_late_takes_nothing_from_what_was_counted_since() {
    let limit = ThrottleLimit::new(3, MINUTE);
    let policy = Policy::default().throttle(|throttle| throttle.by_name_and_address(limit));
    let throttle = Throttle::new(&policy);
    let ops = keys(&throttle, "ops", "192.0.2.1");
    for windows in 0..4 {
        let (began, now) = (start() + DAY * windows, start() + DAY * windows + MINUTE * windows);
        let slow = throttle.acquire(ops, began).unwrap();
        for _ in 0..2 {
            throttle.acquire(ops, now).unwrap();
        }
        throttle.give_back(&slow);
        // Three are free in total, so one more is admitted, and no other.
        throttle.acquire(ops, now).unwrap();
        assert!(throttle.acquire(ops, now).is_err(), "after {windows} windows");
    }
}
