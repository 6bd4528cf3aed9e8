//! The control socket, with curl.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::sandbox::Sandbox;
use crate::support::{Said, here, run};

/// curl's answer: status code, headers and body.
pub(crate) fn curl(sandbox: &Sandbox, arguments: &[&str], path: &str) -> Said {
    run(Command::new("curl")
        .args(request(sandbox))
        .args(arguments)
        .arg(url(path)))
}

pub(crate) fn request(sandbox: &Sandbox) -> [String; 6] {
    let socket = sandbox.socket().display().to_string();
    ["-sSi", "-m", "30", "--no-buffer", "--unix-socket", &socket].map(str::to_owned)
}

pub(crate) fn url(path: &str) -> String {
    format!("http://stayput{path}")
}

/// The status line, the headers in lower case, and the body.
pub(crate) fn parts(said: Said) -> (u16, String, Value) {
    let text = said.good();
    let (head, body) = text.rsplit_once("\r\n\r\n").unwrap();
    // An interim answer may stand before the real one.
    let head = head.rsplit("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, head, serde_json::from_str(body).unwrap())
}

#[test]
fn it_speaks_http_and_json() {
    if !here(false, &["curl"]) {
        return;
    }
    let sandbox = Sandbox::new("master-1");
    let _agent = sandbox.agent();
    let (code, head, status) = parts(curl(&sandbox, &[], "/v1/status"));
    assert_eq!(code, 200);
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(status["node"]["name"], "master-1.prod.k8s.internal");

    let event = r#"{"name": "master-2", "addresses": ["127.77.0.72"]}"#;
    let (code, _, report) = parts(curl(&sandbox, &["-d", event], "/v1/event"));
    assert_eq!(code, 200);
    assert_eq!(report["moves"][0]["after"][0], "127.77.0.72");
    assert!(sandbox.hosts().contains("127.77.0.72 master-2."));
    let done = r#"{"provisioned": true}"#;
    assert_eq!(
        parts(curl(&sandbox, &["-d", done], "/v1/provisioned")).0,
        200
    );
    assert!(sandbox.status()["node"]["provisioned"]["since"].is_string());
    assert_eq!(parts(curl(&sandbox, &["-d", "{}"], "/v1/interface")).0, 200);
    assert_eq!(parts(curl(&sandbox, &["-d", ""], "/v1/reload")).0, 200);
}

#[test]
fn what_is_wrong_gets_its_code_and_a_reason() {
    if !here(false, &["curl"]) {
        return;
    }
    let sandbox = Sandbox::worker();
    let mut agent = sandbox.agent();
    let large = sandbox.path("large.json");
    std::fs::write(&large, vec![b' '; (64 << 10) + 1]).unwrap();
    let large = format!("@{}", large.display());
    let before = sandbox.written();
    let cases: [(&[&str], &str, u16, &str); 12] = [
        (&[], "/", 404, "no such path: /"),
        (&[], "/v1/statu", 404, "no such path: /v1/statu"),
        (&["-X", "DELETE"], "/v1/status", 405, "use GET"),
        (&[], "/v1/event", 405, "use POST"),
        (&["-X", "PUT"], "/v1/reload", 405, "use POST"),
        (&["-d", "{"], "/v1/event", 400, "bad JSON body"),
        (&["-d", ""], "/v1/event", 400, "bad JSON body"),
        (
            &["-d", r#"{"name": "master-1"}"#],
            "/v1/event",
            400,
            "missing field `addresses`",
        ),
        (
            &["-d", r#"{"provisioned": true, "force": true}"#],
            "/v1/provisioned",
            400,
            "unknown field `force`",
        ),
        (
            &["--data-binary", &large],
            "/v1/event",
            413,
            "at most 65536 bytes",
        ),
        (
            &["-d", r#"{"name": "master-9", "addresses": ["127.77.0.9"]}"#],
            "/v1/event",
            422,
            "not a master of this cluster",
        ),
        (
            &["-d", r#"{"name": "master-1", "addresses": []}"#],
            "/v1/event",
            422,
            "no address was given",
        ),
    ];
    for (arguments, path, want, words) in cases {
        let (code, head, body) = parts(curl(&sandbox, arguments, path));
        assert_eq!(code, want, "{arguments:?} {path}: {head}\n{body}");
        let error = body["error"].as_str().unwrap();
        assert!(error.contains(words), "{path}: {error}");
        if code == 405 {
            assert!(head.contains("allow: "), "{head}");
        }
    }
    // Not HTTP at all.
    let socket = sandbox.socket();
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    std::io::Write::write_all(&mut stream, b"\x16\x03\x01 hello\r\n\r\n").unwrap();
    drop(stream);
    assert_eq!(sandbox.written(), before);
    agent.must_run();
}

#[test]
fn only_root_or_who_runs_the_agent_is_heard() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let socket = sandbox.socket();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    if !here(true, &["curl", "setpriv"]) {
        return;
    }
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(sandbox.folder(), 0o755);
    let nobody = |path: &str, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "curl",
        ]);
        run(command
            .args(request(&sandbox))
            .args(arguments)
            .arg(url(path)))
    };
    assert_eq!(nobody("/v1/status", &[]).code, 7, "curl: couldn't connect");
    // Even where somebody has opened the file, the credentials are looked at.
    open(&socket, 0o666);
    let event = r#"{"name": "master-2", "addresses": ["127.77.0.73"]}"#;
    for (path, arguments) in [("/v1/status", &[][..]), ("/v1/event", &["-d", event])] {
        let (code, _, body) = parts(nobody(path, arguments));
        assert_eq!(code, 403, "{body}");
        assert_eq!(body["error"], "only root may use this socket");
    }
    assert!(!sandbox.hosts().contains("127.77.0.73"));
}

#[test]
fn what_the_agent_answers_decides_the_exit_code() {
    let sandbox = Sandbox::worker();
    let socket = sandbox.socket();
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (status, code, words) in [
        ("400 Bad Request", 70, "of another version?"),
        ("403 Forbidden", 69, "the agent failed: why"),
        ("404 Not Found", 70, "of another version?"),
        ("413 Content Too Large", 70, "of another version?"),
        ("422 Unprocessable Content", 65, "stayput: why"),
        ("500 Internal Server Error", 69, "the agent failed: why"),
    ] {
        let said = std::thread::scope(|scope| {
            let said = scope.spawn(|| sandbox.stayput(&["event", "master-1", "127.77.0.74"]));
            let (mut stream, _) = listener.accept().unwrap();
            let body = r#"{"error": "why"}"#;
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
            std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
            // Until the other end has hung up.
            let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
            said.join().unwrap()
        });
        let error = said.refused(code);
        assert!(error.contains(words), "{status}: {error}");
    }
    assert!(!sandbox.hosts().contains("127.77.0.74"));
}
