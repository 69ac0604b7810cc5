//! Whatever a store gives back as a record, it is read or rejected; and what is read is written as it
//! was read.

#![no_main]

use countersign::store::record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(entity) = record::read_entity(text) {
        let written = record::write_entity(&entity).unwrap();
        let read = record::read_entity(&written).unwrap();
        assert_eq!(record::write_entity(&read).unwrap(), written);
    }
    if let Ok(session) = record::read_session(text) {
        let written = record::write_session(&session).unwrap();
        let read = record::read_session(&written).unwrap();
        assert_eq!(record::write_session(&read).unwrap(), written);
    }
    // An entry that cannot be read, or is left out, is not written.
    if let Ok(written) = record::write_event(&record::read_event(text, "1")) {
        let read = record::read_event(&written, "1");
        assert_eq!(record::write_event(&read).unwrap(), written);
    }
    if let Ok(keys) = record::read_keys(text) {
        let written = record::write_keys(&keys).unwrap();
        let read = record::read_keys(&written).unwrap();
        assert_eq!(record::write_keys(&read).unwrap(), written);
    }
});
