use super::*;

const RETENTION: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

fn key(kid: &str, signs_from: Timestamp) -> ScheduledKey {
    let sealed = Sealed::from_bytes(Vec::new());
    let (kid, announced_at) = (kid.to_owned(), at(0));
    ScheduledKey { kid, sealed, announced_at, signs_from, retired_at: None }
}

fn schedule(signs_from: &[u64]) -> KeySchedule {
    let keys = signs_from.iter().enumerate();
    let keys = keys.map(|(number, seconds)| key(&number.to_string(), at(*seconds)));
    KeySchedule { keys: keys.collect(), retired: Vec::new(), version: 1 }
}

fn make(signs_from: Timestamp) -> Result<ScheduledKey, Error> {
    Ok(key("new", signs_from))
}

/// Writes each key as `kid from second`.
fn told(schedule: &KeySchedule) -> Vec<String> {
    let second = |key: &ScheduledKey| key.signs_from.as_micros() / 1_000_000;
    schedule.keys.iter().map(|key| format!("{} from {}", key.kid, second(key))).collect()
}

fn last_told(schedule: &KeySchedule) -> String {
    told(schedule).pop().unwrap()
}

#[test]
fn the_last_key_whose_time_has_come_signs_and_before_all_of_them_the_first() {
    let schedule = schedule(&[100, 200, 300]);
    let signing = [99, 100, 199, 200, 300, 1_000].map(|now| schedule.signing(at(now)));
    assert_eq!(signing, [0, 0, 0, 1, 2, 2].map(Some));
}

#[test]
fn a_key_ends_when_what_it_signed_has_and_the_last_one_never_does() {
    let schedule = schedule(&[100, 200]);
    assert_eq!(schedule.ends_at(0, RETENTION), at(210));
    assert_eq!(schedule.ends_at(1, RETENTION), Timestamp::MAX);
    assert_eq!(schedule.ended_count(at(209), RETENTION), 0);
    assert_eq!(schedule.ended_count(at(210), RETENTION), 1);
}

#[test]
fn a_retired_key_neither_signs_nor_verifies_and_its_neighbours_keep_their_times() {
    let mut schedule = schedule(&[100, 200, 300]);
    schedule.keys[1].retired_at = Some(at(205));
    for now in [199, 200, 204, 205, 299, 300] {
        let expected = if now < 200 { 0 } else { 2 };
        assert_eq!(schedule.signing(at(now)), Some(expected), "by a clock at {now}");
    }
    assert_eq!(schedule.ends_at(0, RETENTION), at(210));
    assert_eq!(schedule.ends_at(1, RETENTION), Timestamp::MIN);
    assert_eq!(schedule.ended_count(at(206), RETENTION), 0, "the one before it has not ended");
}

#[test]
fn a_key_goes_on_where_all_that_follow_it_were_retired() {
    let mut schedule = schedule(&[100, 200, 300]);
    for index in [1, 2] {
        schedule.keys[index].retired_at = Some(at(250));
    }
    assert_eq!(schedule.signing(at(1_000)), Some(0));
    assert_eq!(schedule.ends_at(0, RETENTION), Timestamp::MAX);
    schedule.drop_ended(at(1_000), RETENTION);
    assert_eq!(schedule.keys[0].kid, "0");
}

#[test]
fn what_is_known_to_be_retired_is_retired_in_an_older_writing_and_stays_out_of_it() {
    let mut newer = schedule(&[100]);
    newer.version = 5;
    newer.retired = vec![RetiredKey { kid: "gone".to_owned(), retired_at: at(150) }];
    let mut older = schedule(&[100]);
    older.keys.push(key("gone", at(120)));
    older.keys.push(key("other", at(200)));
    older.merge_newer(&newer, |kid| kid == "gone");
    older.apply_retirements(newer.retirements(), at(155), RETENTION);
    assert_eq!(told(&older), ["0 from 100", "other from 200"]);
    assert_eq!((older.version, older.retired), (5, newer.retired.clone()));
    // No token of it can be valid any more.
    let mut later = schedule(&[100]);
    later.apply_retirements(newer.retirements(), at(160), RETENTION);
    assert!(later.retired.is_empty());
    // A retired key that is in the schedule stays retired there, however long ago that was.
    later.keys.push(key("gone", at(170)));
    later.apply_retirements(newer.retirements(), at(1_000), RETENTION);
    assert_eq!(later.keys[1].retired_at, Some(at(150)));
}

#[test]
fn the_next_change_is_the_first_that_is_to_come() {
    let schedule = schedule(&[100, 200]);
    let change = |now| schedule.next_change(at(now), RETENTION);
    assert_eq!(change(50), Some(at(100)));
    assert_eq!(change(100), Some(at(200)));
    assert_eq!(change(200), Some(at(210)));
    assert_eq!(change(210), Some(Timestamp::MAX));
}

#[test]
fn keys_that_have_ended_are_forgotten_and_the_last_one_stays() {
    let mut ended = schedule(&[100, 200, 300]);
    ended.drop_ended(at(309), RETENTION);
    assert_eq!(told(&ended), ["1 from 200", "2 from 300"]);
    let mut retired = ended.clone();
    retired.keys[1].retired_at = Some(at(305));
    retired.drop_ended(at(1_000), RETENTION);
    assert_eq!(told(&retired), ["1 from 200", "2 from 300"], "the first signs on");
    ended.drop_ended(at(1_000), RETENTION);
    assert_eq!(told(&ended), ["2 from 300"]);
}

#[test]
fn the_next_key_is_announced_in_time_and_one_that_is_late_is_announced_as_long() {
    let (period, announcement) = (Duration::from_secs(90), Duration::from_secs(14));
    let announced = |now| {
        let mut schedule = schedule(&[100]);
        schedule.announce_if_due((at(now), at(now)), period, announcement, make).unwrap();
        last_told(&schedule)
    };
    assert_eq!(announced(175), "0 from 100");
    assert_eq!(announced(176), "new from 190");
    assert_eq!(announced(500), "new from 514");
}

#[test]
fn an_early_rotation_waits_until_all_have_the_next_key_and_never_puts_it_off() {
    let propagation = Duration::from_secs(20);
    let rotated = |signs_from: &[u64], now| {
        let mut schedule = schedule(signs_from);
        let answer = schedule.rotate_early(at(now), propagation, make).unwrap();
        assert_eq!(schedule.keys.last().unwrap().signs_from, answer);
        last_told(&schedule)
    };
    assert_eq!(rotated(&[0, 100], 50), "1 from 50", "announced long ago");
    assert_eq!(rotated(&[0, 100], 10), "1 from 20", "announced just now");
    assert_eq!(rotated(&[0, 15], 10), "1 from 15", "due sooner than all have it");
    assert_eq!(rotated(&[0], 50), "new from 70", "none was announced");
}

#[test]
fn where_the_signing_key_is_retired_the_next_takes_its_place_or_a_new_one() {
    let mut announced = schedule(&[0, 100]);
    announced.retire("0", at(50), make).unwrap();
    assert_eq!(told(&announced), ["0 from 0", "1 from 50"]);
    assert_eq!(announced.signing(at(50)), Some(1));
    announced.retire("1", at(60), make).unwrap();
    assert_eq!(told(&announced), ["0 from 0", "1 from 50", "new from 60"]);
    assert_eq!(announced.signing(at(60)), Some(2));

    let mut other = schedule(&[0, 100]);
    other.retire("1", at(50), make).unwrap();
    assert_eq!(told(&other), ["0 from 0"], "what never signed is gone");
    assert_eq!(other.retire("1", at(50), make).unwrap_err().kind(), ErrorKind::NotFound);
}
