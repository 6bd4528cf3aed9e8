//! A master's API server as far as HAProxy and this test look at one: TLS on every address, `/readyz`,
//! and to any other request who it is and at which of its addresses it was reached.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::namespace::Namespace;

/// kube-apiserver's port.
const PORT: u16 = 6443;

/// A thread in the master's network namespace; it ends when this is dropped.
pub(crate) struct Apiserver {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Apiserver {
    pub(crate) fn start(
        namespace: &Namespace,
        name: &str,
        config: Arc<rustls::ServerConfig>,
    ) -> Self {
        let file = std::fs::File::open(namespace.path()).unwrap();
        let (name, tls) = (name.to_owned(), TlsAcceptor::from(config));
        let (stop, stopped) = oneshot::channel();
        let (ready, listening) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))
                    .await
                    .unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = accept(listener, tls, &name) => {}
                    _ = stopped => {}
                }
            });
        });
        listening.recv().expect("the server listens");
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Apiserver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, name: &str) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (tls, name) = (tls.clone(), name.to_owned());
        tokio::spawn(async move {
            // A client that breaks off is no matter of the server's.
            let _ = answer(stream, tls, &name).await;
        });
    }
}

async fn answer(stream: TcpStream, tls: TlsAcceptor, name: &str) -> std::io::Result<()> {
    let body = format!("{name} at {}\n", stream.local_addr()?.ip());
    let mut stream = tls.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}
