//! One HTTP connection, driven by the task of its caller.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use ledger_limiter::protocol::ErrorBody;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_util::either::Either;

use crate::address::Address;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the connection could not be opened")]
    Connect(#[from] std::io::Error),
    #[error("the connection failed")]
    Transport(#[from] hyper::Error),
    #[error("status {status}: {text}")]
    Status { status: StatusCode, text: String },
    #[error("the answer could not be read")]
    Answer(#[from] serde_json::Error),
    #[error("{answers} answers to {items} requests")]
    Count { items: usize, answers: usize },
}

/// A stream without TLS, or with it.
type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// An open connection. The call that waits for an answer polls it too, because a task of its own would cost two
/// wake-ups for each call.
pub(crate) struct OpenConnection {
    sender: SendRequest<Full<Bytes>>,
    driver: Pin<Box<http1::Connection<TokioIo<Stream>, Full<Bytes>>>>,
    /// Whether the driver has ended and must not be polled again.
    driver_ended: bool,
}

impl OpenConnection {
    /// Whether the connection takes no more requests.
    pub(crate) fn is_closed(&self) -> bool {
        self.driver_ended || self.sender.is_closed()
    }

    pub(crate) async fn new(address: &Address, tls: Option<&Arc<ClientConfig>>) -> Result<Self, CallError> {
        let stream = TcpStream::connect(&address.authority).await?;
        stream.set_nodelay(true)?;
        let stream = match address.tls_name.clone().zip(tls) {
            None => Stream::Left(stream),
            Some((name, config)) => {
                let secured = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
                Stream::Right(Box::new(secured))
            }
        };
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver: Box::pin(driver), driver_ended: false })
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
        if !self.driver_ended {
            tokio::select! {
                biased;
                // The service may close after its answer; the answer may still be in the buffer.
                _ = &mut self.driver => self.driver_ended = true,
                answer = &mut exchange => return answer,
            }
        }
        exchange.await
    }
}

impl CallError {
    /// The error of an answer with an unexpected status; its text is the message of the body.
    pub(crate) fn status(status: StatusCode, body: &[u8]) -> Self {
        let text = serde_json::from_slice::<ErrorBody>(body).map(|error| error.message);
        Self::Status { status, text: text.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned()) }
    }
}
