//! A secret is read through `expose` alone.

fn main() {
    let secret = countersign::Secret::generate().unwrap();
    println!("{secret}");
    let _ = secret.to_string();
    let _ = serde_json::to_string(&secret);
}
