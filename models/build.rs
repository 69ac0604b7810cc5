//! Has the files of `src/sync` take what they are made of from `stand_ins`.

fn main() {
    println!("cargo::rustc-cfg=countersign_models");
    println!("cargo::rerun-if-changed=build.rs");
}
