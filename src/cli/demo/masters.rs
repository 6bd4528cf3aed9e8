//! Pretend masters: they accept connections on a loopback address and say who they are.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Failure, exit};

/// One pretend master; it stops when dropped.
pub(super) struct Master(JoinHandle<()>);

impl Master {
    /// Starts one at `address:port`.
    pub(super) async fn start(number: usize, address: &str, port: u16) -> Result<Self, Failure> {
        let text = format!("{address}:{port}");
        let bound = async {
            let address: SocketAddr = text.parse().map_err(std::io::Error::other)?;
            TcpListener::bind(address).await
        };
        let listener = bound.await.map_err(|error| {
            Failure::new(
                exit::UNAVAILABLE,
                format!("cannot listen on {text}: {error}"),
            )
        })?;
        let answer = format!("master-{number} at {address}");
        Ok(Self(tokio::spawn(serve(listener, answer))))
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(listener: TcpListener, answer: String) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            let mut request = [0; 1024];
            // A health check connects and says nothing; both ends are content with that.
            if matches!(stream.read(&mut request).await, Ok(count) if count > 0) {
                let length = answer.len() + 1;
                let response = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}\n"
                );
                let _ = stream.write_all(response.as_bytes()).await;
            }
        });
    }
}
