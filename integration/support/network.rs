//! The network between the parts of a cluster: a proxy for each link, so that a test can cut, silence or slow links down
//! without the rights that the system's network wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How often a packet of a lossy link is lost, and how long it takes until it is sent again: TCP's shortest time-out.
const LOSS: f64 = 0.05;
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(200);
const REFUSED_AFTER: Duration = Duration::from_millis(20);
const PACKET_BYTES_MAX: usize = 16 * 1_024;

/// What a link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    Whole,
    /// Takes everything and delivers nothing, as a partition does. What it took is delivered later.
    Silent,
    /// Loses some packets, which TCP sends again later.
    Lossy,
    /// Ends all connections and takes no new ones.
    Cut,
}

/// A way from one part to a TCP address.
pub struct Link {
    port: u16,
    state: watch::Sender<LinkState>,
}

impl Link {
    /// Takes connections on a free port and forwards them to this port, until it is dropped.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (state, seen) = watch::channel(LinkState::Whole);
        tokio::spawn(accept(listener, SocketAddr::from(([127, 0, 0, 1], target)), seen));
        Self { port, state }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, state: LinkState) {
        self.state.send_replace(state);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, mut state: watch::Receiver<LinkState>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((from, _)) = accepted else { continue };
                tokio::spawn(forward(from, target, state.clone()));
            }
            // The link is dropped.
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}

async fn forward(from: TcpStream, target: SocketAddr, mut state: watch::Receiver<LinkState>) {
    let cut = |state: &LinkState| *state == LinkState::Cut;
    if cut(&state.borrow()) {
        return;
    }
    let Ok(to) = TcpStream::connect(target).await else {
        // A server that is down refuses; the end of this connection tells it. Not at once, because the other side tries again at once.
        return tokio::time::sleep(REFUSED_AFTER).await;
    };
    for stream in [&from, &to] {
        stream.set_nodelay(true).expect("it is a TCP stream");
    }
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    tokio::select! {
        () = pump(from_read, to_write, state.clone()) => {}
        () = pump(to_read, from_write, state.clone()) => {}
        // Also ends when the link is dropped.
        _ = state.wait_for(cut) => {}
    }
}

/// Forwards one direction of a connection, until an end closes it.
async fn pump(mut read: OwnedReadHalf, mut write: OwnedWriteHalf, mut state: watch::Receiver<LinkState>) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        let Ok(length @ 1..) = read.read(&mut packet).await else { return };
        if state.wait_for(|state| *state != LinkState::Silent).await.is_err() {
            return;
        }
        if *state.borrow() == LinkState::Lossy && rand::rng().random_bool(LOSS) {
            tokio::time::sleep(SENT_AGAIN_AFTER).await;
        }
        if write.write_all(&packet[..length]).await.is_err() {
            return;
        }
    }
}

/// The links of a cluster. Each of its parts, replicas and services, reaches every replica by a link of its own.
pub struct Network {
    /// By part, then by replica. A part has no link to itself.
    links: Vec<Vec<Option<Arc<Link>>>>,
    replicas: Vec<u16>,
}

impl Network {
    /// Links between replicas on these ports, and from so many services to them.
    pub async fn of(replicas: &[u16], services: usize) -> Self {
        let mut links = Vec::new();
        for part in 0..replicas.len() + services {
            let mut of_part = Vec::new();
            for (replica, port) in replicas.iter().enumerate() {
                of_part.push(if part == replica { None } else { Some(Arc::new(Link::to(*port).await)) });
            }
            links.push(of_part);
        }
        Self { links, replicas: replicas.to_vec() }
    }

    /// The part that is this service.
    pub fn service(&self, service: usize) -> usize {
        self.replicas.len() + service
    }

    /// The addresses of all replicas as this part sees them: `HOST:PORT,HOST:PORT,HOST:PORT`.
    pub fn addresses(&self, part: usize) -> String {
        let ports = self.links[part].iter().zip(&self.replicas);
        let addresses =
            ports.map(|(link, own)| format!("127.0.0.1:{}", link.as_ref().map_or(*own, |link| link.port())));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// Sets every link from or to this part.
    pub fn set_around(&self, part: usize, state: LinkState) {
        let from = self.links[part].iter().flatten();
        let to = self.links.iter().filter_map(|of_part| of_part.get(part)?.as_ref());
        from.chain(to).for_each(|link| link.set(state));
    }

    /// Sets all links.
    pub fn set_all(&self, state: LinkState) {
        self.links.iter().flatten().flatten().for_each(|link| link.set(state));
    }
}
