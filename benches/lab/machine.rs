//! Where the figures come from: a figure without its machine says nothing.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use super::process::find;

/// Prints the machine, the versions of the programs that take part, and what else keeps it busy.
pub(crate) fn describe(programs: &[(&str, &str)]) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!("machine: {model}, {processors} processors");
    println!(
        "kernel: Linux {}",
        read("/proc/sys/kernel/osrelease").trim()
    );
    println!("files on: {}", filesystem());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = stayput::clock::rfc3339(now.unwrap_or_default().as_secs());
    println!("date: {now}");
    println!("stayput {}", env!("CARGO_PKG_VERSION"));
    for (program, flag) in programs {
        println!("{}", version(program, flag));
    }
    load();
}

/// Prints the load average: other work on the machine makes figures worse.
pub(crate) fn load() {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    println!("load average: {}", load.join(" "));
}

/// The first line of what a program says of itself.
fn version(program: &str, flag: &str) -> String {
    let Some(path) = find(program) else {
        return format!("{program}: not on this machine, left out");
    };
    let Ok(output) = Command::new(path).arg(flag).output() else {
        return format!("{program}: does not start");
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().next().unwrap_or_default();
    if line.to_lowercase().contains(&program.to_lowercase()) {
        line.to_owned()
    } else {
        format!("{program} {line}")
    }
}

/// The type of the filesystem that the benchmark writes to, by findmnt(8).
fn filesystem() -> String {
    let output = Command::new("findmnt")
        .args([
            "--noheadings",
            "--output",
            "FSTYPE,SOURCE,OPTIONS",
            "--target",
        ])
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let words = text.unwrap_or_default();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
