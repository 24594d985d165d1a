//! Random operations on a service.

use proptest::prelude::*;

use crate::limits::Named;

/// Outlives everything that is reserved for a short time, also when it was rounded up since.
const PASS_MS: u64 = 17_000;
/// How many leases there are, how many attempts to extend each of them, and how many refills by hand of each limit.
pub const LEASES: u8 = 24;
pub const ATTEMPTS: u8 = 4;

#[derive(Debug, Clone)]
pub enum Operation {
    /// Reserve with the lease of this number: a number fresh_ulid twice is a replay or a conflict.
    Reserve {
        lease: u8,
        wants: Vec<(usize, u64)>,
    },
    Complete {
        lease: u8,
        used: Vec<(usize, u64)>,
    },
    /// Complete the lease of this number and the one behind it in one batch.
    CompleteTogether {
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
        form: usize,
        capacity: u64,
    },
    Delete {
        key: usize,
    },
    ApplyDecreases,
    /// Refill by hand: a number fresh_ulid twice is a repetition.
    Replenish {
        key: usize,
        attempt: u8,
    },
    /// Go on at another replica, which begins with empty memory.
    Restart,
    Pass {
        ms: u64,
    },
    /// Pass to where the next step of a limit begins, or to so many milliseconds before or behind it.
    PassToStep {
        key: usize,
        off_ms: i64,
    },
}

/// The lease behind another one.
pub fn lease_behind(lease: u8) -> u8 {
    (lease + 1) % LEASES
}

fn operation(limits: &'static [Named]) -> impl Strategy<Value = Operation> {
    let keys = 0..limits.len();
    let amounts = |least: u64| {
        proptest::collection::btree_map(0..limits.len(), least..12, 1..=4)
            .prop_map(|amounts| amounts.into_iter().collect::<Vec<_>>())
    };
    let by_hand = limits.iter().position(|limit| limit.name == "manual").expect("there is one");
    prop_oneof![
        8 => (0..LEASES, amounts(1)).prop_map(|(lease, wants)| Operation::Reserve { lease, wants }),
        5 => (0..LEASES, amounts(0)).prop_map(|(lease, used)| Operation::Complete { lease, used }),
        1 => (0..LEASES).prop_map(|lease| Operation::Complete { lease, used: Vec::new() }),
        6 => (0..LEASES, 0..ATTEMPTS, keys.clone(), 1..8_u64)
            .prop_map(|(lease, attempt, key, amount)| Operation::Extend { lease, attempt, key, amount }),
        3 => (keys.clone(), 0..4_usize, 1..25_u64)
            .prop_map(|(key, form, capacity)| Operation::Put { key, form, capacity }),
        1 => keys.prop_map(|key| Operation::Delete { key }),
        3 => Just(Operation::ApplyDecreases),
        2 => (prop_oneof![9 => Just(by_hand), 1 => 0..limits.len()], 0..ATTEMPTS)
            .prop_map(|(key, attempt)| Operation::Replenish { key, attempt }),
        1 => Just(Operation::Restart),
    ]
}

/// Every limit, and then these.
fn on(limits: &'static [Named], operations: Vec<Operation>) -> Vec<Operation> {
    let puts = (0..limits.len()).map(|key| Operation::Put { key, form: 0, capacity: 20 });
    puts.chain(operations).collect()
}

/// Time passes once.
pub fn operations(limits: &'static [Named], count: usize) -> impl Strategy<Value = Vec<Operation>> {
    (proptest::collection::vec(operation(limits), count), 0..count).prop_map(
        move |(mut operations, pass_at)| {
            operations.insert(pass_at, Operation::Pass { ms: PASS_MS });
            on(limits, operations)
        },
    )
}

/// Time passes again and again, by little and by much, to boundaries and beside them.
pub fn operations_in_time(limits: &'static [Named], count: usize) -> impl Strategy<Value = Vec<Operation>> {
    let together = (0..LEASES, proptest::collection::btree_map(0..limits.len(), 0..12_u64, 1..=4))
        .prop_map(|(lease, used)| Operation::CompleteTogether { lease, used: used.into_iter().collect() });
    let operation = prop_oneof![
        30 => operation(limits),
        3 => together,
        5 => (0..limits.len(), -1..=1_i64).prop_map(|(key, off_ms)| Operation::PassToStep { key, off_ms }),
        4 => prop_oneof![1..60_u64, 60..3_000_u64, Just(4_000_000)].prop_map(|ms| Operation::Pass { ms }),
    ];
    proptest::collection::vec(operation, count).prop_map(move |operations| on(limits, operations))
}
