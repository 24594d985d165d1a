//! One HTTP connection, driven by the task that calls through it.

use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use ledger_limiter::protocol::ErrorBody;
use tokio::net::TcpStream;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no connection")]
    Connect(#[from] std::io::Error),
    #[error("the connection failed")]
    Transport(#[from] hyper::Error),
    #[error("status {status}: {text}")]
    Status { status: StatusCode, text: String },
    #[error("the answer is not what it should be")]
    Answer(#[from] serde_json::Error),
    #[error("{answers} answers to {asks} requests")]
    Count { asks: usize, answers: usize },
}

/// An open connection. No task of its own drives it, which would cost two wake-ups for each call: it is polled beside
/// what waits for it.
pub(crate) struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: Pin<Box<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
    /// Whether the driver has ended: it may not be polled any more.
    ended: bool,
}

impl Open {
    /// Whether nothing can be sent any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.ended || self.sender.is_closed()
    }

    pub(crate) async fn new(authority: &str) -> Result<Self, CallError> {
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver: Box::pin(driver), ended: false })
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let response = self.sender.send_request(request);
        let exchange = async {
            let response = response.await?;
            let status = response.status();
            Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        let mut exchange = std::pin::pin!(exchange);
        if !self.ended {
            tokio::select! {
                biased;
                // The service closes after its answer: what it said may still be here.
                _ = &mut self.driver => self.ended = true,
                answer = &mut exchange => return answer,
            }
        }
        exchange.await
    }
}

impl CallError {
    /// An answer that is for people.
    pub(crate) fn status(status: StatusCode, body: &[u8]) -> Self {
        let text = serde_json::from_slice::<ErrorBody>(body).map(|error| error.message);
        Self::Status { status, text: text.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned()) }
    }
}
