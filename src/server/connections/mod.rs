//! Accepts connections, serves HTTP/1.1 and HTTP/2 on each in a task of its own, and bounds what clients can hold.
//!
//! `axum::serve` would do, but for what it cannot be told: to answer a client that closed its sending half behind its
//! request, to listen with a long backlog, and all of the bounds.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `bounds` | the bounds, what is held of them, how often each was struck |
//! | `descriptors` | how many connections the limit on open files allows |
//! | `table` | the open connections: by peer, the overdue ones, the one that gives way |
//! | `activity` | what one connection does, and since when |
//! | `serve` | one connection from its handshake to its end |
//! | `client_stream` | its bytes, with or without TLS |
//! | `hang_up` | the same when the client is gone |
//! | `request_body`, `answer_body` | the bodies on it, timed and counted |

mod activity;
mod answer_body;
mod bounds;
mod client_stream;
mod descriptors;
mod hang_up;
mod request_body;
mod serve;
mod table;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval};

use activity::Activity;
use bounds::Bound;
pub(crate) use bounds::Bounds;
pub(crate) use descriptors::connections_max;
use table::Table;

use super::tls::Configs;

/// How many connections may wait to be accepted. The kernel lowers it to its own bound (`net.core.somaxconn`).
const BACKLOG: u32 = 4_096;

/// The pause after a connection could not be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `address`.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted service takes its port back although connections of the last one linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The open connections of one listener. A drop closes them at once.
pub(super) struct Connections {
    shared: Arc<Shared>,
    bounds: Arc<Bounds>,
    max: usize,
    resets_max: u32,
    open: JoinSet<()>,
    table: Table,
    checks: Interval,
}

/// What all connections of a listener share.
struct Shared {
    service: TowerToHyperService<Router>,
    tls: Option<Configs>,
    /// Whether connections end after the request that they serve.
    ending: watch::Sender<bool>,
}

impl Connections {
    /// At most `max` connections that `router` serves within `bounds`, with TLS if there are configurations of it. A client of
    /// HTTP/2 may cancel `resets_max` requests within a second.
    pub(super) fn new(
        router: Router,
        tls: Option<Configs>,
        bounds: Arc<Bounds>,
        max: usize,
        resets_max: u32,
    ) -> Self {
        let mut checks = interval(bounds.check_interval);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let service = TowerToHyperService::new(router);
        let shared = Shared { service, tls, ending: watch::Sender::new(false) };
        let (open, table) = (JoinSet::new(), Table::default());
        Self { shared: Arc::new(shared), bounds, max, resets_max, open, table, checks }
    }

    /// Accepts connections, forever. A drop of the future loses none.
    pub(super) async fn accept(&mut self, listener: &TcpListener) {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.serve(stream, peer.ip()),
                    Err(error) => self.pause_after(&error).await,
                },
                Some(ended) = self.open.join_next_with_id() => self.forget(&ended),
                _ = self.checks.tick() => {
                    self.bounds.set_clock();
                    self.table.close_overdue();
                }
            }
        }
    }

    /// Accepts the connections that wait already, before `listener` is closed.
    pub(super) fn accept_last(&mut self, listener: &TcpListener) {
        while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
            self.serve(stream, peer.ip());
        }
    }

    /// Lets each connection end after the request that it serves, and at once if it serves none.
    pub(super) fn end(&self) {
        self.shared.ending.send_replace(true);
    }

    /// Waits until no connection is open.
    pub(super) async fn ended(&mut self) {
        while let Some(ended) = self.open.join_next_with_id().await {
            self.forget(&ended);
        }
    }

    /// Serves a connection, or closes it if there is no room for it.
    fn serve(&mut self, stream: TcpStream, peer: IpAddr) {
        if self.table.of_peer(peer) >= self.bounds.settings.max_per_peer {
            return self.bounds.strike(Bound::PeerConnections);
        }
        if self.table.len() >= self.max && !self.table.displace() {
            return self.bounds.strike(Bound::Connections);
        }
        let activity = Arc::new(Activity::new(Arc::clone(&self.bounds), self.resets_max, peer));
        let serve = serve::serve(stream, Arc::clone(&self.shared), Arc::clone(&activity));
        let task = self.open.spawn(serve);
        self.bounds.open.inc();
        self.table.add(peer, activity, task);
    }

    fn forget(&mut self, ended: &Result<(Id, ()), JoinError>) {
        self.bounds.open.dec();
        match ended {
            Ok((id, ())) => self.table.remove(*id),
            Err(error) => self.table.remove(error.id()),
        }
    }

    async fn pause_after(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        // These concern the client's end only.
        if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
            tracing::debug!(%error, "cannot accept a connection; trying again");
            self.bounds.strike(Bound::Descriptors);
            self.table.displace();
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.table.set_closing();
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
