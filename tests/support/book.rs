//! What an agent or a process for peers says on its socket, and where a book has the masters.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// How long a busy machine may need to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// As it is said on a socket; null where nobody answers now.
pub(crate) fn asks(socket: &Path, path: &str) -> Value {
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_default()
}

/// Each master's name and first address by a status; without those that have not said so themselves.
pub(crate) fn places(status: &Value) -> impl Iterator<Item = (String, String)> {
    let masters = status["masters"].as_array().into_iter().flatten();
    let signed = masters.filter(|master| {
        let says = &master["record"]["addresses"];
        says == &master["addresses"] || master["origin"] == "record"
    });
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    signed.map(move |master| (text(&master["name"]), text(&master["addresses"][0])))
}
