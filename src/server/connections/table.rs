//! The open connections: how many each peer has, which is overdue, and which gives way to a new one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use indexmap::IndexMap;
use tokio::task::{AbortHandle, Id};

use super::activity::Activity;
use super::bounds::Bound;

/// How many connections are looked at to choose the one that gives way. A look at all of them would let a flood of new ones
/// take a processor.
const CANDIDATES: usize = 32;
/// Whoever has one address of IPv6 has the other addresses of the same network, too.
const IPV6_NETWORK_BITS: u32 = 64;

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct Table {
    connections: IndexMap<Id, Connection>,
    per_peer: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Connection {
    activity: Arc<Activity>,
    peer: IpAddr,
    task: AbortHandle,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// The number of connections of a peer.
    pub(super) fn of_peer(&self, peer: IpAddr) -> usize {
        self.per_peer.get(&network(peer)).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, peer: IpAddr, activity: Arc<Activity>, task: AbortHandle) {
        let peer = network(peer);
        *self.per_peer.entry(peer).or_default() += 1;
        self.connections.insert(task.id(), Connection { activity, peer, task });
    }

    /// Forgets a connection. Does nothing if it is forgotten already.
    pub(super) fn remove(&mut self, id: Id) {
        let Some(connection) = self.connections.swap_remove(&id) else { return };
        if let Some(count) = self.per_peer.get_mut(&connection.peer) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&connection.peer);
            }
        }
    }

    /// Notes of each connection that it is about to be dropped.
    pub(super) fn set_closing(&self) {
        for connection in self.connections.values() {
            connection.activity.set_closing();
        }
    }

    /// Closes the connections that reached a time-out.
    pub(super) fn close_overdue(&mut self) {
        for connection in self.connections.values() {
            if connection.activity.is_closing() {
                continue;
            }
            if let Some(bound) = connection.activity.overdue() {
                connection.activity.bounds().strike(bound);
                connection.close();
            }
        }
    }

    /// Closes a connection that does nothing for its client. `false` if none of those looked at is such a one.
    pub(super) fn displace(&mut self) -> bool {
        let count = self.len();
        let start = if count > CANDIDATES { rand::random_range(0..count) } else { 0 };
        let candidates = (0..count.min(CANDIDATES)).filter_map(|offset| {
            let (id, connection) = self.connections.get_index((start + offset) % count)?;
            Some((connection.activity.rank()?, *id))
        });
        let Some((_, id)) = candidates.min() else { return false };
        if let Some(connection) = self.connections.get(&id) {
            connection.activity.bounds().strike(Bound::Displaced);
            connection.close();
        }
        self.remove(id);
        true
    }
}

impl Connection {
    fn close(&self) {
        self.activity.set_closing();
        self.task.abort();
    }
}

/// What counts as one peer.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (128 - IPV6_NETWORK_BITS);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V4(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_of_ipv6_are_networks_and_mapped_addresses_are_those_of_ipv4() {
        let network_of = |text: &str| network(text.parse().expect("an address")).to_string();
        for (address, peer) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(network_of(address), peer, "{address}");
        }
    }
}
