//! The memory ledger against a real TigerBeetle: random operations of the limiter get the same answers on both, and
//! random raw chains the same outcomes.

use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::{
    AccountCode, AccountId, AccountRule, Bound, Chain, ChainOutcome, Ledger, Movement, NewAccount, Transfer,
    TransferCode, TransferId, UserData,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::fixtures::Backend;
use crate::limits::LASTING;
use crate::memory::MemoryBackend;
use crate::operations::{Operation, operations};
use crate::run::{Observer, run};
use crate::support::TigerBeetleBackend;

/// The random sequences to run, each on its own ledger number.
const SEQUENCES: usize = 12;
/// The sequences to run at once. Each replica in a sequence has two of the 64 sessions that a cluster takes.
const AT_ONCE: usize = 4;

/// One line for each operation: its answer, and the state of every limit after it.
#[derive(Default)]
struct Rows(Vec<String>);

impl Observer for Rows {
    fn observe(&mut self, operation: &Operation, answer: String, limits: Vec<String>) {
        self.0.push(format!("{operation:?} -> {answer} {limits:?}"));
    }

    fn until_step(&self, _: usize) -> std::time::Duration {
        panic!("in real time, no operation waits for a step of a schedule")
    }
}

/// Runs the operations on a backend and returns a line for each.
async fn trace<B: Backend>(backend: &B, operations: &[Operation]) -> Vec<String> {
    let mut rows = Rows::default();
    run(backend, LASTING, operations, &mut rows).await;
    rows.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_have_the_same_answers() {
    let mut runner = TestRunner::default();
    let mut sequences = tokio::task::JoinSet::new();
    for _ in 0..SEQUENCES {
        if sequences.len() == AT_ONCE {
            sequences.join_next().await.expect("a sequence runs").expect("it has the same answers");
        }
        let operations = operations(LASTING, 40).new_tree(&mut runner).expect("operations").current();
        sequences.spawn(async move {
            let on_memory = trace(&MemoryBackend::new(), &operations).await;
            let on_tigerbeetle = trace(&TigerBeetleBackend::new().await, &operations).await;
            for (index, (memory, tigerbeetle)) in on_memory.iter().zip(&on_tigerbeetle).enumerate() {
                assert_eq!(memory, tigerbeetle, "after {:#?}", &on_memory[..index]);
            }
            assert_eq!(on_memory.len(), on_tigerbeetle.len());
        });
    }
    sequences.join_all().await;
}

/// A transfer between few accounts with one of few ids, so that most transfers meet an earlier one.
fn transfers() -> impl Strategy<Value = Transfer> {
    let account = |number: u128| AccountId::from_u128(number);
    let bound = prop_oneof![Just(Bound::DebitBalance), Just(Bound::CreditOwed), Just(Bound::Both)];
    let movement = prop_oneof![
        3 => (1..6_u128, 1..6_u128, 0..8_u128).prop_map(move |(debit, credit, amount)| Movement::Post {
            debit: account(debit),
            credit: account(credit),
            amount
        }),
        5 => (1..6_u128, 1..6_u128, 0..8_u128, prop_oneof![Just(0_u32), Just(3_600), Just(7_200)]).prop_map(
            move |(debit, credit, amount, timeout_seconds)| Movement::Pend {
                debit: account(debit),
                credit: account(credit),
                amount,
                timeout_seconds
            }
        ),
        4 => (1..6_u128, 1..6_u128, 0..8_u128, bound).prop_map(move |(debit, credit, amount, bound)| {
            Movement::PostUpTo { debit: account(debit), credit: account(credit), amount, bound }
        }),
        1 => (1..6_u128, 1..6_u128).prop_map(move |(debit, credit)| Movement::Close {
            debit: account(debit),
            credit: account(credit)
        }),
        3 => (1..40_u128).prop_map(|pending| Movement::Void { pending: TransferId::from_u128(pending) }),
        3 => (1..40_u128).prop_map(|pending| Movement::Void { pending: TransferId::from_u128(pending) }),
    ];
    let code = prop_oneof![
        12 => Just(TransferCode::ReserveRolling),
        1 => Just(TransferCode::Close),
        1 => Just(TransferCode::Grant),
    ];
    (1..40_u128, movement, code, 0..2_u64).prop_map(|(id, movement, code, long)| Transfer {
        id: TransferId::from_u128(id),
        code,
        user_data: UserData { wide: 7, long, short: 0 },
        movement,
    })
}

/// Accounts 1 and 2 must not be overdrawn, 3 and 4 are unconstrained, and 5 does not exist.
fn accounts() -> Vec<NewAccount> {
    let account =
        |number, rule| NewAccount { id: AccountId::from_u128(number), rule, code: AccountCode::Limit };
    vec![
        account(1, AccountRule::DebitsMustNotExceedCredits),
        account(2, AccountRule::DebitsMustNotExceedCredits),
        account(3, AccountRule::Unconstrained),
        account(4, AccountRule::Unconstrained),
    ]
}

/// Posts 6 to an account.
fn grant(to: u128) -> Transfer {
    let [debit, credit] = [3, to].map(AccountId::from_u128);
    Transfer {
        id: TransferId::from_u128(100 + to),
        code: TransferCode::Grant,
        user_data: UserData::default(),
        movement: Movement::Post { debit, credit, amount: 6 },
    }
}

/// Adds `by` to all ids of a transfer. All ledgers of a cluster share one id space, so each sequence needs ids of its
/// own.
fn with_ids_shifted(transfer: Transfer, by: u128) -> Transfer {
    let id = |id: TransferId| TransferId::from_u128(id.as_u128() + by);
    let account = |id: AccountId| AccountId::from_u128(id.as_u128() + by);
    let movement = match transfer.movement {
        Movement::Post { debit, credit, amount } => {
            Movement::Post { debit: account(debit), credit: account(credit), amount }
        }
        Movement::PostUpTo { debit, credit, amount, bound } => {
            Movement::PostUpTo { debit: account(debit), credit: account(credit), amount, bound }
        }
        Movement::Pend { debit, credit, amount, timeout_seconds } => {
            Movement::Pend { debit: account(debit), credit: account(credit), amount, timeout_seconds }
        }
        Movement::Close { debit, credit } => {
            Movement::Close { debit: account(debit), credit: account(credit) }
        }
        Movement::Void { pending } => Movement::Void { pending: id(pending) },
    };
    Transfer { id: id(transfer.id), movement, ..transfer }
}

/// Whether two outcomes are equal, apart from their timestamps.
fn alike(a: ChainOutcome, b: ChainOutcome) -> bool {
    match (a, b) {
        (ChainOutcome::Created { .. }, ChainOutcome::Created { .. }) => true,
        (ChainOutcome::Refused { .. }, ChainOutcome::Refused { .. }) => a == b,
        (ChainOutcome::Created { .. }, ChainOutcome::Refused { .. })
        | (ChainOutcome::Refused { .. }, ChainOutcome::Created { .. }) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_chains_have_the_same_outcomes() {
    let (memory, tigerbeetle) = (MemoryBackend::new(), TigerBeetleBackend::new().await);
    let (memory, tigerbeetle) = (memory.connect(), tigerbeetle.connect());
    let mut runner = TestRunner::default();
    let chains = proptest::collection::vec(proptest::collection::vec(transfers(), 1..4), 30);
    let mut refused = std::collections::BTreeSet::new();
    for sequence in 0..200_u128 {
        let base = ((Ids::new(1).operator().as_u128() >> 64) ^ (sequence + 1)) << 64;
        let accounts: Vec<NewAccount> = accounts()
            .into_iter()
            .map(|account| NewAccount { id: AccountId::from_u128(account.id.as_u128() + base), ..account })
            .collect();
        memory.create_accounts(accounts.clone()).await.expect("accounts");
        tigerbeetle.create_accounts(accounts.clone()).await.expect("accounts");
        let random = chains.new_tree(&mut runner).expect("chains").current();
        // First capacity for the accounts that need it, then every chain twice.
        let chains: Vec<Chain> = std::iter::once(vec![grant(1), grant(2)])
            .chain(random.iter().cloned())
            .chain(random.iter().cloned())
            .filter_map(|chain| {
                Chain::new(chain.into_iter().map(|transfer| with_ids_shifted(transfer, base)))
            })
            .collect();
        let expected = memory.submit(chains.clone()).await;
        let found = tigerbeetle.submit(chains.clone()).await;
        for (index, (expected, found)) in expected.into_iter().zip(found).enumerate() {
            let (expected, found) = (expected.expect("an outcome"), found.expect("an outcome"));
            assert!(alike(expected, found), "{expected:?} / {found:?} after {:#?}", &chains[..=index]);
            if let ChainOutcome::Refused { refusal, .. } = expected {
                refused.insert(format!("{refusal:?}"));
            }
        }
        let ids: Vec<AccountId> = accounts.iter().map(|account| account.id).collect();
        let expected = memory.accounts(ids.clone()).await.expect("accounts");
        assert_eq!(expected, tigerbeetle.accounts(ids).await.expect("accounts"));
    }
    let common = [
        "CreditAccountClosed",
        "CreditAccountNotFound",
        "DebitAccountClosed",
        "DebitAccountNotFound",
        "ExceedsCredits",
        "Exists",
        "ExistsWithDifferent(Flags)",
        "IdAlreadyFailed",
        "PendingNotFound",
    ];
    assert!(
        common.iter().all(|name| refused.contains(*name)),
        "the chains cause each common refusal: {refused:#?}"
    );
}
