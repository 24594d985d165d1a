//! Accepts connections, and serves HTTP/1.1 on each in a task of its own.
//!
//! `axum::serve` has no settings for three things that are needed here: to answer a client that closed its sending
//! half behind its request, to listen with a long backlog, and to close connections on which nothing happens.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

use super::client_stream::ClientStream;

/// How many connections may wait to be accepted. The kernel lowers it to its own bound (`net.core.somaxconn`).
const BACKLOG: u32 = 4_096;

/// A connection on which no request begins for this long is closed, at the latest after twice as long: it is idle, or its
/// client sends half a request, or does not read the answer. One timer for each connection serves all three, and a
/// request arms none.
const QUIET_MAX: Duration = Duration::from_secs(60);

/// The pause after a connection could not be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Listens on `address`.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted service takes its port back although connections of the last one linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The open connections. A drop closes them at once.
pub(super) struct Connections {
    service: TowerToHyperService<Router>,
    open: JoinSet<()>,
    /// Whether connections end after the request that they serve.
    ending: watch::Sender<bool>,
}

impl Connections {
    /// Connections that `router` serves.
    pub(super) fn new(router: Router) -> Self {
        Self {
            service: TowerToHyperService::new(router),
            open: JoinSet::new(),
            ending: watch::Sender::new(false),
        }
    }

    /// Accepts connections, forever. A drop of the future loses none.
    pub(super) async fn accept(&mut self, listener: &TcpListener) {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.serve(stream),
                    Err(error) => pause_after(&error).await,
                },
                // Frees what the JoinSet keeps of a connection that ended.
                Some(_) = self.open.join_next() => {}
            }
        }
    }

    /// Accepts the connections that wait already, before `listener` is closed.
    pub(super) fn accept_last(&mut self, listener: &TcpListener) {
        while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
            self.serve(stream);
        }
    }

    /// Lets each connection end after the request that it serves, and at once if it serves none.
    pub(super) fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Waits until no connection is open.
    pub(super) async fn ended(&mut self) {
        while self.open.join_next().await.is_some() {}
    }

    fn serve(&mut self, stream: TcpStream) {
        self.open.spawn(serve(stream, self.service.clone(), self.ending.subscribe()));
    }
}

async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    // These concern the client's end only.
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, pause = ?ACCEPT_PAUSE, "cannot accept a connection; trying again");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Serves one connection until it ends.
async fn serve(stream: TcpStream, router: TowerToHyperService<Router>, mut ending: watch::Receiver<bool>) {
    let begun = Arc::new(AtomicU64::new(0));
    let service = service_fn({
        let begun = Arc::clone(&begun);
        move |request| {
            begun.fetch_add(1, Ordering::Relaxed);
            router.call(request)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(ClientStream::new(stream)), service)
    );
    let mut ending = pin!(ending.wait_for(|ending| *ending));
    let mut is_ending = false;
    let mut quiet = interval_at(Instant::now() + QUIET_MAX, QUIET_MAX);
    let mut begun_before = 0;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection failed");
                }
                return;
            }
            _ = ending.as_mut(), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = quiet.tick() => {
                let begun = begun.load(Ordering::Relaxed);
                if begun == begun_before {
                    return;
                }
                begun_before = begun;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_connections_may_wait_to_be_accepted() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let address = listener.local_addr().expect("an address");
        let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1));
        // Nobody accepts them. The backlog of the standard library is 128.
        let waiting: Vec<_> = (0..512).map(|_| connect().expect("it waits in the backlog")).collect();
        assert_eq!(waiting.len(), 512);
    }
}
