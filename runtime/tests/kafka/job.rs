//! Jobs that tests start: the binary, with SQL, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// An own folder below the target directory, emptied.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

pub fn command(folder: &Path, sql: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_velocore"));
    command
        .current_dir(folder)
        .args(["run", "--quiet", "--shards", "2", "-e", sql])
        .args(more)
        .stdin(Stdio::null());
    command
}

pub fn run(folder: &Path, sql: &str, more: &[&str]) -> Output {
    command(folder, sql, more).output().unwrap()
}

/// The rows on standard output of a job that must succeed, sorted.
pub fn rows(folder: &Path, sql: &str) -> Vec<String> {
    let output = run(folder, sql, &[]);
    assert!(output.status.success(), "{sql}\n{}", errors(&output));
    sorted_lines(&output.stdout)
}

pub fn sorted_lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    lines.sort();
    lines
}

pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a job that must fail says.
pub fn refused(folder: &Path, sql: &str, more: &[&str], parts: &[&str]) {
    let output = run(folder, sql, more);
    let told = errors(&output);
    assert!(!output.status.success(), "{sql}\n{told}");
    for part in parts {
        assert!(told.contains(part), "'{part}' is not in:\n{told}");
    }
}

/// A job that runs beside the test; it is killed with its owner.
pub struct Running(pub Child);

impl Running {
    pub fn start(folder: &Path, sql: &str) -> Running {
        Running(
            command(folder, sql, &[])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub const CHECKPOINTS: [&str; 4] = ["--checkpoint-dir", "state", "--checkpoint-interval", "50ms"];
