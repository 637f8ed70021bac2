//! Tells the linker to fold functions whose machine code is identical: Arrow's kernels are compiled once per
//! type, and a fifth of them comes out the same.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // There rustc links by the `lld` that comes with it, which knows the option; other linkers may not.
    let has_lld = is("TARGET", "x86_64-unknown-linux-gnu") && is("HOST", "x86_64-unknown-linux-gnu");
    if has_lld && is("PROFILE", "release") && std::env::var_os("RUSTC_LINKER").is_none() {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}
