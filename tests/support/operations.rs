//! Random operations on a service. Limits, leases, extends and manual refills are named by numbers.

use proptest::prelude::*;

use crate::limits::Named;

/// Longer than every short reservation, also after a complete rounded its remaining time up.
const PASS_MS: u64 = 17_000;
/// The number of leases.
pub const LEASES: u8 = 24;
/// The number of extend ids and of renew ids for each lease, and of manual refills for each limit.
pub const ATTEMPTS: u8 = 4;

#[derive(Debug, Clone)]
pub enum Operation {
    /// Reserve under the lease of this number. The same number again is a repetition or a conflict.
    Reserve {
        lease: u8,
        wants: Vec<(usize, u64)>,
    },
    Complete {
        lease: u8,
        used: Vec<(usize, u64)>,
    },
    /// Complete the lease of this number and the next one in one batch.
    CompleteTogether {
        lease: u8,
        used: Vec<(usize, u64)>,
    },
    /// Extend the lease of this number, under the extend id of this number.
    Extend {
        lease: u8,
        extend: u8,
        key: usize,
        amount: u64,
    },
    /// Renew the slots of the lease of this number, under the renew id of this number.
    Renew {
        lease: u8,
        renew: u8,
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
    /// Make the manual refill of this number. The same number again is a repetition.
    Replenish {
        key: usize,
        refill: u8,
    },
    /// Continue at a new replica, whose caches are empty.
    Restart,
    Pass {
        ms: u64,
    },
    /// Let time pass to the next step of a limit, or to this many milliseconds before or after it.
    PassToStep {
        key: usize,
        off_ms: i64,
    },
}

/// The number of the lease after another one.
pub fn lease_after(lease: u8) -> u8 {
    (lease + 1) % LEASES
}

fn operation(limits: &'static [Named]) -> impl Strategy<Value = Operation> {
    let keys = 0..limits.len();
    let amounts = |least: u64| {
        proptest::collection::btree_map(0..limits.len(), least..12, 1..=4)
            .prop_map(|amounts| amounts.into_iter().collect::<Vec<_>>())
    };
    let manual = limits.iter().position(|limit| limit.name == "manual").expect("a limit is manual");
    prop_oneof![
        8 => (0..LEASES, amounts(1)).prop_map(|(lease, wants)| Operation::Reserve { lease, wants }),
        5 => (0..LEASES, amounts(0)).prop_map(|(lease, used)| Operation::Complete { lease, used }),
        1 => (0..LEASES).prop_map(|lease| Operation::Complete { lease, used: Vec::new() }),
        6 => (0..LEASES, 0..ATTEMPTS, keys.clone(), 1..8_u64)
            .prop_map(|(lease, extend, key, amount)| Operation::Extend { lease, extend, key, amount }),
        4 => (0..LEASES, 0..ATTEMPTS).prop_map(|(lease, renew)| Operation::Renew { lease, renew }),
        3 => (keys.clone(), 0..4_usize, 0..25_u64)
            .prop_map(|(key, form, capacity)| Operation::Put { key, form, capacity }),
        1 => keys.prop_map(|key| Operation::Delete { key }),
        3 => Just(Operation::ApplyDecreases),
        2 => (prop_oneof![9 => Just(manual), 1 => 0..limits.len()], 0..ATTEMPTS)
            .prop_map(|(key, refill)| Operation::Replenish { key, refill }),
        1 => Just(Operation::Restart),
    ]
}

/// Operations that define every limit, and then these.
fn after_definitions(limits: &'static [Named], operations: Vec<Operation>) -> Vec<Operation> {
    let puts = (0..limits.len()).map(|key| Operation::Put { key, form: 0, capacity: 20 });
    puts.chain(operations).collect()
}

/// Operations among which time passes once.
pub fn operations(limits: &'static [Named], count: usize) -> impl Strategy<Value = Vec<Operation>> {
    (proptest::collection::vec(operation(limits), count), 0..count).prop_map(
        move |(mut operations, pass_at)| {
            operations.insert(pass_at, Operation::Pass { ms: PASS_MS });
            after_definitions(limits, operations)
        },
    )
}

/// Operations among which time passes often: a little, a lot, to steps, and to moments beside them.
pub fn operations_in_time(limits: &'static [Named], count: usize) -> impl Strategy<Value = Vec<Operation>> {
    let together = (0..LEASES, proptest::collection::btree_map(0..limits.len(), 0..12_u64, 1..=4))
        .prop_map(|(lease, used)| Operation::CompleteTogether { lease, used: used.into_iter().collect() });
    let operation = prop_oneof![
        30 => operation(limits),
        3 => together,
        5 => (0..limits.len(), -1..=1_i64).prop_map(|(key, off_ms)| Operation::PassToStep { key, off_ms }),
        4 => prop_oneof![1..60_u64, 60..3_000_u64, Just(4_000_000)].prop_map(|ms| Operation::Pass { ms }),
    ];
    proptest::collection::vec(operation, count)
        .prop_map(move |operations| after_definitions(limits, operations))
}
