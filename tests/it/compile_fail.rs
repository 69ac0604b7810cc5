//! What must not compile.

#[test]
fn what_would_be_unsafe_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
