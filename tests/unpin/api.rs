//! A kube-apiserver of the test: objects by path, with a master's own certificate.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};

/// What it holds, was asked, and does wrong.
#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// `VERB PATH`.
    asked: Vec<String>,
    /// Statuses that the next requests get, whatever they ask; 0: as they should be.
    next: Vec<u16>,
}

/// It serves as long as the test runs.
#[derive(Clone)]
pub(crate) struct Api {
    state: Arc<Mutex<State>>,
}

impl Api {
    /// Serves on a listener with what lies in a folder such as `/etc/kubernetes/pki`.
    pub(crate) fn start(listener: TcpListener, pki: &Path) -> Self {
        let certificate = |name: &str| CertificateDer::from_pem_file(pki.join(name)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.crt")).unwrap();
        let clients = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
        let key = PrivateKeyDer::from_pem_file(pki.join("apiserver.key")).unwrap();
        let tls = rustls::ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate("apiserver.crt")], key)
            .unwrap();
        let (tls, state) = (Arc::new(tls), Arc::new(Mutex::new(State::default())));
        let api = Self { state };
        let serving = api.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that breaks off has what it wanted.
                let _ = serving.serve(stream.unwrap(), &tls);
            }
        });
        api
    }

    pub(crate) fn put(&self, path: &str, object: Value) {
        let mut state = self.state.lock().unwrap();
        state.objects.insert(path.to_owned(), object);
    }

    pub(crate) fn object(&self, path: &str) -> Value {
        self.state.lock().unwrap().objects[path].clone()
    }

    /// The statuses of the next answers, the first one first; 0 for a right one.
    pub(crate) fn answer_next(&self, statuses: &[u16]) {
        self.state.lock().unwrap().next = statuses.iter().rev().copied().collect();
    }

    /// What it was asked since this was asked last.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    fn serve(&self, stream: TcpStream, tls: &Arc<rustls::ServerConfig>) -> std::io::Result<()> {
        let connection = rustls::ServerConnection::new(tls.clone()).unwrap();
        let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(verb), Some(path)) = (words.next(), words.next()) else {
            return Ok(());
        };
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if let Some(number) = line.strip_prefix("content-length: ") {
                length = number.parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let (status, answer) = self.answer(&verb, &path, &body);
        let answer = answer.to_string();
        let mut stream = stream.into_inner();
        write!(
            stream,
            "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        )?;
        stream.conn.send_close_notify();
        stream.flush()
    }

    fn answer(&self, verb: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        state.asked.push(format!("{verb} {path}"));
        match state.next.pop() {
            None | Some(0) => {}
            Some(status) => return (status, json!({"message": "as the test has it"})),
        }
        let Some(object) = state.objects.get_mut(path) else {
            return (404, json!({"message": "not found"}));
        };
        if verb == "PUT" {
            let new: Value = serde_json::from_slice(body).unwrap();
            let version = "/metadata/resourceVersion";
            assert_eq!(new.pointer(version), object.pointer(version));
            *object = new;
            let next = object[&"metadata"]["resourceVersion"].as_str().unwrap();
            object["metadata"]["resourceVersion"] = format!("{next}1").into();
        } else {
            assert_eq!(verb, "GET", "{path}");
        }
        (200, object.clone())
    }
}
