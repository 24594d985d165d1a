//! Random operations on a service, and a run of them that is told as text: over one backend it is held against the
//! model, over two backends the one against the other.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::admin::AdminError;
use ledger_limiter::limit::{Definition, LeaseId, Overage};
use ledger_limiter::limiter::{CompleteOutcome, ExtendOutcome, ReserveOutcome};
use proptest::prelude::*;

use crate::fixtures::*;

/// The limits that operations are about.
pub const KEYS: [&str; 4] = ["long", "short", "slots", "deny"];
/// Rolling limits with a window of seconds that a run can outlive, and of more than it can.
pub const SHORT_SECONDS: u64 = 5;
pub const LONG_SECONDS: u64 = 3_600;
/// Outlives everything that is reserved for a short time, also when it was rounded up since.
pub const PASS: Duration = Duration::from_secs(7);

#[derive(Debug, Clone)]
pub enum Operation {
    /// Reserve with the lease of this number: a number drawn twice is a replay or a conflict.
    Reserve {
        lease: u8,
        wants: Vec<(usize, u64)>,
    },
    Complete {
        lease: u8,
        used: Vec<(usize, u64)>,
    },
    /// Ask for more under the lease of this number, by an attempt of a number of its own.
    Extend {
        lease: u8,
        attempt: u8,
        key: usize,
        amount: u64,
    },
    Put {
        key: usize,
        capacity: u64,
    },
    Delete {
        key: usize,
    },
    ApplyDecreases,
    /// Go on at another replica, which begins with empty memory.
    Restart,
    Pass,
}

/// The definition that a `Put` means.
pub fn definition(key: usize, capacity: u64) -> Definition {
    match KEYS[key] {
        "long" => rolling("long", capacity, LONG_SECONDS),
        "short" => rolling("short", capacity, SHORT_SECONDS),
        "slots" => concurrency("slots", capacity, LONG_SECONDS),
        _ => Definition { overage: Overage::Deny, ..rolling("deny", capacity, LONG_SECONDS) },
    }
}

pub fn operations(count: usize) -> impl Strategy<Value = Vec<Operation>> {
    let amounts = |least: u64| {
        proptest::collection::btree_map(0..KEYS.len(), least..12, 1..=KEYS.len())
            .prop_map(|amounts| amounts.into_iter().collect::<Vec<_>>())
    };
    let operation = prop_oneof![
        8 => (0..24_u8, amounts(1)).prop_map(|(lease, wants)| Operation::Reserve { lease, wants }),
        5 => (0..24_u8, amounts(0)).prop_map(|(lease, used)| Operation::Complete { lease, used }),
        1 => (0..24_u8).prop_map(|lease| Operation::Complete { lease, used: Vec::new() }),
        6 => (0..24_u8, 0..4_u8, 0..KEYS.len(), 1..8_u64)
            .prop_map(|(lease, attempt, key, amount)| Operation::Extend { lease, attempt, key, amount }),
        3 => (0..KEYS.len(), 1..25_u64).prop_map(|(key, capacity)| Operation::Put { key, capacity }),
        1 => (0..KEYS.len()).prop_map(|key| Operation::Delete { key }),
        3 => Just(Operation::ApplyDecreases),
        1 => Just(Operation::Restart),
    ];
    let puts: Vec<Operation> = (0..KEYS.len()).map(|key| Operation::Put { key, capacity: 20 }).collect();
    (proptest::collection::vec(operation, count), 0..count).prop_map(move |(mut operations, pass_at)| {
        operations.insert(pass_at, Operation::Pass);
        puts.iter().cloned().chain(operations).collect()
    })
}

/// Carries the operations out and tells, for each, what was answered and how every limit stands then.
pub async fn run<B: Backend>(
    backend: &B,
    operations: &[Operation],
    tell: impl FnMut(&Operation, String, Vec<String>),
) {
    let mut tell = tell;
    let leases: Vec<LeaseId> = (0..24).map(|_| lease()).collect();
    let attempts: Vec<LeaseId> = (0..4).map(|_| lease()).collect();
    let mut replica = start(backend).await;
    for operation in operations {
        let answer = match operation {
            Operation::Reserve { lease, wants } => {
                reservation(&replica.reserve(leases[usize::from(*lease)], &named(wants)).await)
            }
            Operation::Complete { lease, used } => {
                completion(&replica.complete(leases[usize::from(*lease)], &named(used)).await)
            }
            Operation::Extend { lease, attempt, key, amount } => {
                let (lease, attempt) = (leases[usize::from(*lease)], attempts[usize::from(*attempt)]);
                let command = extend(lease, attempt, KEYS[*key], *amount);
                extension(replica.limiter.extend(&command).await.expect("the ledger answers"))
            }
            Operation::Put { key, capacity } => {
                format!("{:?}", replica.put(definition(*key, *capacity)).await)
            }
            Operation::Delete { key } => match replica.admin.delete(&key_of(*key)).await {
                Ok(()) => "deleted".to_owned(),
                Err(AdminError::UnknownKey(_)) => "unknown".to_owned(),
                Err(error) => panic!("{error}"),
            },
            Operation::ApplyDecreases => {
                replica.admin.apply_decreases().await.expect("the ledger answers");
                "applied".to_owned()
            }
            Operation::Restart => {
                replica = start(backend).await;
                "restarted".to_owned()
            }
            Operation::Pass => {
                backend.pass(PASS).await;
                "passed".to_owned()
            }
        };
        let mut standing = Vec::new();
        for usage in replica.admin.list().await.expect("the ledger answers") {
            let (state, key) = (&usage.entry.limit.state, usage.entry.key());
            let (capacity, status) = (state.definition.capacity.get(), state.status);
            let (available, reserved, debt) = (usage.available, usage.reserved, usage.debt);
            assert_eq!(
                available + reserved,
                u128::from(capacity),
                "{key}: the posted balance is the capacity"
            );
            standing.push(format!("{key} {status:?} {capacity}: {available} {reserved} {debt}"));
        }
        tell(operation, answer, standing);
    }
}

async fn start<B: Backend>(backend: &B) -> Arc<Replica<B::Ledger>> {
    Arc::new(Replica::start(backend.connect(), backend.ids(), 0).await)
}

fn key_of(index: usize) -> ledger_limiter::limit::LimitKey {
    key(KEYS[index])
}

fn named(amounts: &[(usize, u64)]) -> Vec<(&'static str, u64)> {
    amounts.iter().map(|(index, amount)| (KEYS[*index], *amount)).collect()
}

fn reservation(reservation: &ReserveOutcome) -> String {
    match reservation {
        ReserveOutcome::Granted { .. } => "granted".to_owned(),
        ReserveOutcome::NoRoom { key, .. } => format!("no room: {key}"),
        ReserveOutcome::Decreasing { key, .. } => format!("decreasing: {key}"),
        ReserveOutcome::ExceedsCapacity { key } => format!("exceeds: {key}"),
        ReserveOutcome::UnknownKey { key } => format!("unknown: {key}"),
        ReserveOutcome::TooManyInstances { key } => format!("too many: {key}"),
        ReserveOutcome::LeaseConflict => "conflict".to_owned(),
        ReserveOutcome::LeaseSettled => "settled".to_owned(),
    }
}

fn extension(extension: ExtendOutcome) -> String {
    match extension {
        ExtendOutcome::Answered(outcome) => reservation(&outcome),
        ExtendOutcome::NotInLease => "not in lease".to_owned(),
        ExtendOutcome::TooMany => "too many".to_owned(),
    }
}

fn completion(completion: &CompleteOutcome) -> String {
    match completion {
        CompleteOutcome::Settled { excesses } => {
            let excess: u128 = excesses.iter().map(|excess| excess.amount).sum();
            format!("settled, {excess} over")
        }
        CompleteOutcome::NothingToDo => "nothing to do".to_owned(),
        CompleteOutcome::NotInLease { .. } => "not in lease".to_owned(),
    }
}
