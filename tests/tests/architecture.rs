//! The architecture invariants that a compiler does not check: dependency direction, the one place
//! of glommio, the one place of `unsafe`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests crate stands in the workspace")
        .to_path_buf()
}

/// The names of a crate's dependencies, development ones included.
fn dependencies(name: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let mut names = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        if let Some(table) = manifest.get(section).and_then(|section| section.as_table()) {
            names.extend(table.keys().cloned());
        }
    }
    names
}

/// Every Rust file below `folder`, with its text.
fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    files
}

/// Lines of code, comments left out.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with("//"))
}

#[test]
fn dependencies_point_from_runtime_to_shards_to_engine() {
    let forbidden = |name: &str, others: &[&str]| {
        let found: Vec<String> = dependencies(name)
            .into_iter()
            .filter(|dependency| others.contains(&dependency.as_str()))
            .collect();
        assert!(found.is_empty(), "{name} must not depend on {found:?}");
    };
    forbidden("engine", &["shards", "runtime", "tests", "benches"]);
    forbidden("shards", &["runtime", "tests", "benches"]);
    forbidden("runtime", &["tests", "benches"]);
}

#[test]
fn engine_and_shards_depend_on_nothing_that_does_input_or_output() {
    for name in ["engine", "shards"] {
        for forbidden in [
            "glommio",
            "tokio",
            "rustix",
            "io-uring",
            "signal-hook",
            "core_affinity",
            "parquet",
        ] {
            let found = dependencies(name)
                .iter()
                .any(|dependency| dependency == forbidden);
            assert!(!found, "{name} must not depend on {forbidden}");
        }
    }
}

#[test]
fn glommio_is_named_in_one_file_of_the_runtime() {
    for folder in ["engine/src", "shards/src", "benches", "tests/src"] {
        for (path, text) in rust_files(folder) {
            let named = code_lines(&text).any(|line| line.contains("glommio::"));
            assert!(!named, "{} names glommio", path.display());
        }
    }
    let users: Vec<PathBuf> = rust_files("runtime/src")
        .into_iter()
        .filter(|(_, text)| code_lines(text).any(|line| line.contains("glommio::")))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(users, [root().join("runtime/src/executor/io_uring.rs")]);
}

#[test]
fn unsafe_code_lives_in_the_ring_alone() {
    for folder in ["engine/src", "shards/src", "runtime/src"] {
        for (path, text) in rust_files(folder) {
            let has_unsafe = code_lines(&text).any(|line| {
                line.contains("unsafe {") || line.contains("unsafe impl") || line.contains("unsafe fn")
            });
            let allowed = path.ends_with("shards/src/ring.rs");
            assert!(!has_unsafe || allowed, "{} holds unsafe code", path.display());
        }
    }
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    for folder in [
        "engine/src",
        "shards/src",
        "runtime/src",
        "tests/src",
        "tests/tests",
    ] {
        for (path, text) in rust_files(folder) {
            assert!(
                text.starts_with("//!"),
                "{} does not open with //!",
                path.display()
            );
        }
    }
}

#[test]
fn files_stay_readable_in_length() {
    for folder in ["engine/src", "shards/src", "runtime/src", "tests/src"] {
        for (path, text) in rust_files(folder) {
            let lines = text.lines().count();
            assert!(
                lines <= 700,
                "{} has {lines} lines: two ideas share a room",
                path.display()
            );
        }
    }
}

#[test]
fn every_limit_has_a_test_that_reaches_it() {
    let files: Vec<(PathBuf, String)> = ["engine/src", "shards/src", "runtime/src", "runtime/tests"]
        .into_iter()
        .flat_map(rust_files)
        .collect();
    for limit in runtime::limits::all() {
        let test = format!("fn {}(", limit.test);
        let is_there = files.iter().any(|(_, text)| {
            let before = text
                .split(&test)
                .next()
                .filter(|before| before.len() < text.len());
            before.is_some_and(|before| before.trim_end().ends_with("#[test]"))
        });
        assert!(is_there, "{}: no test is named {}", limit.name, limit.test);
    }
}
