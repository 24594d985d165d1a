//! The faults, in a random order that a seed decides. Two of the three replicas can always reach each other.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::callers::Callers;
use crate::support::network::LinkState;
use crate::support::server::Cluster;
use crate::support::service::Service;

/// How long a fault lasts.
const DOWN: Duration = Duration::from_secs(3);

/// One fault. Numbers are those of replicas or services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KillReplica(usize),
    PauseReplica(usize),
    /// A replica and everybody else do not hear of each other. Its connections stay open.
    IsolateReplica(usize),
    /// All connections of a replica end, and it gets no new ones.
    DisconnectReplica(usize),
    KillService(usize),
    /// As in a rolling upgrade.
    RestartService(usize),
    /// A service hears of no replica.
    IsolateService(usize),
    /// Every link loses packets.
    LosePackets,
    /// Every connection ends at once, and can be made again.
    EndConnections,
}

impl Fault {
    /// All faults of a cluster with two services.
    fn all() -> Vec<Self> {
        let of_replicas = (0..3).flat_map(|replica| {
            [
                Self::KillReplica(replica),
                Self::PauseReplica(replica),
                Self::IsolateReplica(replica),
                Self::DisconnectReplica(replica),
            ]
        });
        let of_services = (0..2).flat_map(|service| {
            [Self::KillService(service), Self::RestartService(service), Self::IsolateService(service)]
        });
        of_replicas.chain(of_services).chain([Self::LosePackets, Self::EndConnections]).collect()
    }

    /// All faults, each as often as any other, without an end.
    pub fn sequence(mut random: StdRng) -> impl Iterator<Item = Self> {
        std::iter::repeat_with(move || {
            let mut round = Self::all();
            round.shuffle(&mut random);
            round
        })
        .flatten()
    }

    /// Whether calls can fail at a service that runs.
    pub fn hits_the_ledger(self) -> bool {
        match self {
            Self::KillReplica(_)
            | Self::PauseReplica(_)
            | Self::IsolateReplica(_)
            | Self::DisconnectReplica(_)
            | Self::IsolateService(_)
            | Self::LosePackets
            | Self::EndConnections => true,
            Self::KillService(_) | Self::RestartService(_) => false,
        }
    }

    /// Breaks something, lets it be so, and heals it.
    pub async fn inject(self, cluster: &mut Cluster, services: &mut [Service; 2], callers: &Callers) {
        match self {
            Self::KillReplica(replica) => {
                cluster.kill(replica).await;
                tokio::time::sleep(DOWN).await;
                cluster.run(replica).await;
            }
            Self::PauseReplica(replica) => {
                cluster.pause(replica).await;
                tokio::time::sleep(DOWN).await;
                cluster.resume(replica).await;
            }
            Self::KillService(service) => {
                services[service].kill().await;
                tokio::time::sleep(DOWN).await;
                callers.set_in_rotation(service, false);
                services[service].run_until_ready().await;
                callers.set_in_rotation(service, true);
            }
            Self::RestartService(service) => {
                callers.set_in_rotation(service, false);
                services[service].stop().await;
                services[service].run_until_ready().await;
                callers.set_in_rotation(service, true);
            }
            Self::IsolateReplica(replica) => break_links(cluster, Some(replica), LinkState::Silent).await,
            Self::DisconnectReplica(replica) => break_links(cluster, Some(replica), LinkState::Cut).await,
            Self::IsolateService(service) => {
                let part = cluster.network().service(service);
                break_links(cluster, Some(part), LinkState::Silent).await;
            }
            Self::LosePackets => break_links(cluster, None, LinkState::Lossy).await,
            Self::EndConnections => {
                cluster.network().set_all(LinkState::Cut);
                tokio::time::sleep(Duration::from_millis(100)).await;
                cluster.network().set_all(LinkState::Whole);
            }
        }
    }
}

/// Sets the links around a part, or all links, for a while.
async fn break_links(cluster: &Cluster, part: Option<usize>, state: LinkState) {
    let set = |state| match part {
        Some(part) => cluster.network().set_around(part, state),
        None => cluster.network().set_all(state),
    };
    set(state);
    tokio::time::sleep(DOWN).await;
    set(LinkState::Whole);
}
