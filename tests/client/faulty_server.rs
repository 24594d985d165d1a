//! An HTTP server in front of a limiter over the memory ledger. It can drop, delay, duplicate and truncate exchanges.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use ledger_limiter::ledger::memory::ManualClock;
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::server::Metrics;
use ledger_limiter::server::api::{self, Api, Audience, Gate};
use ledger_limiter::telemetry::MetricsRegistry;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

#[cfg(feature = "client-tls")]
use super::tls::Tls;
use crate::fixtures::*;
use crate::memory::MemoryBackend;

/// A fault of one exchange of request and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Closes the connection without carrying the request out.
    DropRequest,
    /// Carries the request out and closes the connection.
    DropAnswer,
    /// Carries the request out and answers after the client's timeout.
    Delay,
    /// Carries the request out twice and sends the second answer.
    Duplicate,
    /// Carries the request out and closes the connection in the middle of the answer.
    Truncate,
    /// Carries the request out and answers 503, as if the ledger had not answered.
    Unavailable,
}

pub const FAULTS: [Fault; 6] = [
    Fault::DropRequest,
    Fault::DropAnswer,
    Fault::Delay,
    Fault::Duplicate,
    Fault::Truncate,
    Fault::Unavailable,
];

/// How clients reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    #[cfg(feature = "client-tls")]
    Https,
}

pub const SCHEMES: &[Scheme] = &[
    Scheme::Http,
    #[cfg(feature = "client-tls")]
    Scheme::Https,
];

pub struct FaultyServer {
    pub replica: Replica<MemoryLedger<Arc<ManualClock>>>,
    pub url: String,
    #[cfg(feature = "client-tls")]
    pub tls: Option<Tls>,
    pub connections: AtomicUsize,
    router: Router,
    faults: Mutex<VecDeque<Option<Fault>>>,
    delay: Duration,
}

impl FaultyServer {
    /// Starts a server with a rolling limit `rpm` of 1,000 in an hour, and a concurrency limit `slots` of 100.
    /// [`Fault::Delay`] lasts for `delay`.
    pub async fn start(delay: Duration) -> Arc<Self> {
        Self::start_by(Scheme::Http, delay).await
    }

    /// The same, reached by this scheme.
    pub async fn start_by(scheme: Scheme, delay: Duration) -> Arc<Self> {
        let backend = MemoryBackend::new();
        let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
        replica.put(rolling("rpm", 1_000, 3_600)).await;
        replica.put(concurrency("slots", 100, 3_600)).await;
        let metrics = Metrics::new(MetricsRegistry::default());
        let api = Api {
            request_timeout: Duration::from_secs(1),
            ..Api::new(Arc::clone(&replica.engine), Gate::open(), metrics)
        };
        api.readiness.set_bootstrapped();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let url = match scheme {
            Scheme::Http => format!("http://{address}"),
            #[cfg(feature = "client-tls")]
            Scheme::Https => format!("https://localhost:{}", address.port()),
        };
        let router = api::router(Arc::new(api), Audience::Everybody);
        let (connections, faults) = (AtomicUsize::new(0), Mutex::default());
        let server = Arc::new(Self {
            replica,
            url,
            #[cfg(feature = "client-tls")]
            tls: (scheme == Scheme::Https).then(Tls::new),
            connections,
            router,
            faults,
            delay,
        });
        tokio::spawn(Arc::clone(&server).accept(listener));
        server
    }

    /// Sets the faults of the next exchanges. Later exchanges have none.
    pub fn set_faults(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        let mut next_faults = self.faults.lock().expect("no panic");
        next_faults.clear();
        next_faults.extend(faults);
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            self.connections.fetch_add(1, Ordering::SeqCst);
            let server = Arc::clone(&self);
            tokio::spawn(async move {
                // Serving fails when the client closes the connection, which some tests cause.
                server.secure_and_serve(stream).await.ok();
            });
        }
    }

    async fn secure_and_serve(&self, stream: TcpStream) -> std::io::Result<()> {
        #[cfg(feature = "client-tls")]
        if let Some(tls) = &self.tls {
            // A fault ends the connection without a word of TLS, as a crash does.
            return self.serve(tls.accept(stream).await?).await;
        }
        self.serve(stream).await
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some((head, body)) = read_request(&mut stream).await? {
            let fault = self.faults.lock().expect("no panic").pop_front().flatten();
            if fault == Some(Fault::DropRequest) {
                return Ok(());
            }
            let mut answer = self.carry_out(&head, &body).await;
            match fault {
                None | Some(Fault::DropRequest) => {}
                Some(Fault::DropAnswer) => return Ok(()),
                Some(Fault::Delay) => tokio::time::sleep(self.delay).await,
                Some(Fault::Duplicate) => answer = self.carry_out(&head, &body).await,
                Some(Fault::Truncate) => {
                    stream.write_all(&answer[..answer.len() - 10]).await?;
                    return stream.flush().await;
                }
                Some(Fault::Unavailable) => {
                    answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec();
                }
            }
            stream.write_all(&answer).await?;
            stream.flush().await?;
        }
        Ok(())
    }

    async fn carry_out(&self, head: &str, body: &[u8]) -> Vec<u8> {
        let mut words = head.split(' ');
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
        let request = Request::builder().method(method).uri(path);
        let request = request.header("host", "localhost").header("content-type", "application/json");
        let request = request.body(Body::from(body.to_vec())).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("the router answers");
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    }
}

/// The first line of a request, and its body. `None` at the end of the connection.
async fn read_request(
    stream: &mut BufReader<impl AsyncRead + Unpin>,
) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut head = String::new();
    if stream.read_line(&mut head).await? == 0 {
        return Ok(None);
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some((head, body)))
}
