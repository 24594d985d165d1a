//! Definition versions as raw chains: transfers of amount zero, which can be read through either of their accounts.

use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::{
    AccountCode, AccountId, AccountQuery, AccountRule, Chain, ChainOutcome, Field, Ledger, Movement,
    NewAccount, Order, Recorded, Refusal, Side, Transfer, TransferCode, UserData,
};

use crate::fixtures::*;

/// Creates the accounts that a version of this limit needs. Returns the one that its parts credit.
async fn create_accounts<L: Ledger>(ledger: &L, ids: Ids, name: &str) -> AccountId {
    let account = |id, rule, code| NewAccount { id, rule, code };
    let accounts = vec![
        account(ids.registry(), AccountRule::Unconstrained, AccountCode::Registry),
        account(ids.operator(), AccountRule::Unconstrained, AccountCode::Operator),
        account(ids.limit(&key(name)), AccountRule::DebitsMustNotExceedCredits, AccountCode::Limit),
        account(ids.debt(&key(name)), AccountRule::Unconstrained, AccountCode::Debt),
    ];
    ledger.create_accounts(accounts).await.expect("accounts");
    ids.debt(&key(name))
}

/// The parts of a definition version. Each holds its own number.
fn parts(ids: Ids, name: &str, version: u64, count: u16) -> Vec<Transfer> {
    let part = |part: u16| Transfer {
        id: ids.definition_part(&key(name), version, part),
        code: TransferCode::Definition,
        user_data: UserData { wide: u128::MAX - u128::from(part), long: version, short: part.into() },
        movement: Movement::Post { debit: ids.registry(), credit: ids.debt(&key(name)), amount: 0 },
    };
    (0..count).map(part).collect()
}

async fn send<L: Ledger>(ledger: &L, transfers: Vec<Transfer>) -> ChainOutcome {
    ledger.submit_one(Chain::new(transfers).expect("not empty")).await.expect("the ledger answers")
}

async fn read<L: Ledger>(
    ledger: &L,
    account: AccountId,
    side: Side,
    order: Order,
    after_ns: u64,
    count_max: u32,
) -> Vec<Recorded> {
    let code = TransferCode::Definition;
    let query = AccountQuery { account, side, code, after_ns, order, count_max };
    ledger.account_transfers(query).await.expect("the ledger answers")
}

fn transfers(recorded: &[Recorded]) -> Vec<Transfer> {
    recorded.iter().map(|recorded| recorded.transfer).collect()
}

pub async fn the_parts_of_a_version_are_read_through_either_account<B: Backend>(backend: B) {
    let (ledger, ids) = (backend.connect(), backend.ids());
    let (a, b) = (create_accounts(&*ledger, ids, "a").await, create_accounts(&*ledger, ids, "b").await);
    let written = [parts(ids, "a", 1, 3), parts(ids, "b", 1, 1), parts(ids, "a", 2, 2)];
    for transfers in &written {
        let outcome = send(&*ledger, transfers.clone()).await;
        assert!(matches!(outcome, ChainOutcome::Created { .. }), "{outcome:?}");
    }
    let all = written.concat();
    let log = read(&*ledger, ids.registry(), Side::Debit, Order::OldestFirst, 0, 100).await;
    assert_eq!(transfers(&log), all);
    for (nth, recorded) in log.iter().enumerate() {
        let later = read(&*ledger, ids.registry(), Side::Debit, Order::OldestFirst, recorded.timestamp_ns, 2);
        let later = later.await;
        let (_, expected) = all.split_at(nth + 1);
        assert_eq!(transfers(&later), expected[..expected.len().min(2)], "after part {nth}");
    }
    let of_a = [&written[0][..], &written[2]].concat();
    let newest = read(&*ledger, a, Side::Credit, Order::NewestFirst, 0, 4).await;
    assert_eq!(transfers(&newest), of_a.iter().rev().take(4).copied().collect::<Vec<_>>());
    let second_ns = log[1].timestamp_ns;
    assert_eq!(
        transfers(&read(&*ledger, a, Side::Credit, Order::OldestFirst, second_ns, 9).await),
        of_a[2..]
    );
    assert_eq!(transfers(&read(&*ledger, b, Side::Credit, Order::OldestFirst, 0, 9).await), written[1]);
    assert_eq!(read(&*ledger, b, Side::Debit, Order::OldestFirst, 0, 9).await, []);
}

pub async fn a_version_is_written_once<B: Backend>(backend: B) {
    let (ledger, ids) = (backend.connect(), backend.ids());
    create_accounts(&*ledger, ids, "a").await;
    let version = parts(ids, "a", 1, 2);
    assert!(matches!(send(&*ledger, version.clone()).await, ChainOutcome::Created { .. }));
    let refused = |refusal| ChainOutcome::Refused { index: 0, refusal };
    assert_eq!(send(&*ledger, version.clone()).await, refused(Refusal::Exists));
    let mut other = version.clone();
    other[0].user_data.long += 1;
    let differs = |field| refused(Refusal::ExistsWithDifferent(field));
    assert_eq!(
        send(&*ledger, other).await,
        differs(Field::UserDataLong),
        "another replica's version differs"
    );
    assert_eq!(
        send(&*ledger, version[..1].to_vec()).await,
        differs(Field::Flags),
        "a chain of the first part alone links no part behind it"
    );
    let last = send(&*ledger, version[1..].to_vec()).await;
    assert_eq!(last, refused(Refusal::Exists), "no part was linked behind the last one");
}

pub async fn a_refused_version_leaves_no_part<B: Backend>(backend: B) {
    let (ledger, ids) = (backend.connect(), backend.ids());
    let a = create_accounts(&*ledger, ids, "a").await;
    assert!(matches!(send(&*ledger, parts(ids, "a", 1, 1)).await, ChainOutcome::Created { .. }));
    let cut = |fresh_ulid| Transfer {
        id: ids.fresh(fresh_ulid, 0),
        code: TransferCode::Cut,
        user_data: UserData::default(),
        movement: Movement::Post { debit: ids.limit(&key("a")), credit: ids.operator(), amount: 1 },
    };
    let refused = [parts(ids, "a", 2, 2), vec![cut(lease().as_u128())]].concat();
    let no_room = ChainOutcome::Refused { index: 2, refusal: Refusal::ExceedsCredits };
    assert_eq!(send(&*ledger, refused).await, no_room);
    let first = parts(ids, "a", 1, 1);
    for (account, side) in [(ids.registry(), Side::Debit), (a, Side::Credit)] {
        let log = read(&*ledger, account, side, Order::NewestFirst, 0, 9).await;
        assert_eq!(transfers(&log), first, "the log has no part of the refused version");
    }
    let second = parts(ids, "a", 2, 2);
    assert!(
        matches!(send(&*ledger, second.clone()).await, ChainOutcome::Created { .. }),
        "the same version can be written later"
    );
    let log = read(&*ledger, a, Side::Credit, Order::OldestFirst, 0, 9).await;
    assert_eq!(transfers(&log), [first, second].concat());
}
