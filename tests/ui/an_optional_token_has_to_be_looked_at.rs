//! A handler that takes anonymous callers cannot use the claims as if there were always some.

async fn handler(caller: Option<countersign::Bearer>) -> String {
    caller.0.subject().to_owned()
}

fn main() {
    let _ = handler;
}
