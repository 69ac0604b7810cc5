use crate::service::store::Store;
use crate::service::store::conformance::unique;

/// It puts back what it found: the store may be in use.
pub(super) async fn a_sealing_check_is_read_as_it_was_written_last(store: &(impl Store + ?Sized)) {
    let found = store.read_sealing_check().await.unwrap();
    for check in [unique(), unique()] {
        store.write_sealing_check(&check).await.unwrap();
        let read = store.read_sealing_check().await.unwrap();
        assert_eq!(read, Some(check), "the sealing check is not what was written last");
    }
    // An empty one counts as none.
    store.write_sealing_check(&found.unwrap_or_default()).await.unwrap();
}
