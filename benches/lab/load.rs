//! dnsperf: many questions over UDP, counted.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::Result;
use super::process::{find, on_processor};

/// Questions that wait for their answers at any time.
const OUTSTANDING: &str = "100";

/// Asks for every name so many times, from processor 1; gives how many answers came.
pub(crate) fn ask(server: SocketAddr, questions: &Path, times: usize) -> Result<u32> {
    let program = find("dnsperf").ok_or("install dnsperf: this benchmark needs it")?;
    let output = on_processor(1, &program.display().to_string())
        .args(["-s", &server.ip().to_string()])
        .args(["-p", &server.port().to_string()])
        .arg("-d")
        .arg(questions)
        .args(["-n", &times.to_string()])
        .args(["-q", OUTSTANDING, "-c", "1", "-T", "1"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(|line| line.trim().to_owned())
    };
    let completed = field("Queries completed:").and_then(|f| f.split(' ').next()?.parse().ok());
    let codes = field("Response codes:").unwrap_or_default();
    match completed {
        // A server that refuses is quick, and of no interest.
        Some(completed) if codes.starts_with("NOERROR") && codes.contains("(100.00%)") => {
            Ok(completed)
        }
        _ => Err(format!("dnsperf: {text}{}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// Writes dnsperf's input: each name once.
pub(crate) fn write_questions(path: &Path, names: impl Iterator<Item = String>) -> Result {
    let lines = names.map(|name| format!("{name} A\n"));
    Ok(fs::write(path, lines.collect::<String>())?)
}
