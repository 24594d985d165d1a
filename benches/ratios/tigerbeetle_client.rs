//! Calls the TigerBeetle client crate directly: the upper bound of what TigerBeetle gives on this machine.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tigerbeetle_unofficial::core::error::SendError;
use tigerbeetle_unofficial::core::{self as client, OperationKind, Transfer, account, transfer};

use crate::failure::Failure;

/// The most transfers that one request holds.
pub(crate) const FULL_BATCH_TRANSFERS: usize = 8_189;

/// Another ledger than the one that the service uses on the same replica.
const LEDGER: u32 = 7;
const OPERATOR: u128 = 1 << 100;
const CAPACITY: u128 = 1 << 60;

/// A session of the client crate.
pub(crate) struct Session(client::Client<&'static Completions>);

struct Completions;

struct Pending {
    events: Events,
    reply: SyncSender<Result<Vec<u8>, SendError>>,
}

enum Events {
    Transfers(Vec<Transfer>),
    Accounts(Vec<client::Account>),
}

impl Session {
    /// Starts a session.
    pub(crate) fn connect(address: &str) -> Result<Self, Failure> {
        Ok(Self(client::Client::with_callback(0, address, &Completions)?))
    }

    /// Makes the operator account, and as many limits as given: accounts that cannot be overdrawn.
    pub(crate) fn make_limits(&self, limits: usize) -> Result<(), Failure> {
        let operator = client::Account::new(OPERATOR, LEDGER, 1);
        let numbers = || (1..=limits).map(|number| number as u128);
        let limit = |id| {
            let flags = account::Flags::DEBITS_MUST_NOT_EXCEED_CREDITS;
            client::Account::new(id, LEDGER, 1).with_flags(flags)
        };
        self.send(Events::Accounts([operator].into_iter().chain(numbers().map(limit)).collect()))?;
        let grant = |id| {
            let transfer = Transfer::new(transfer_id(0, id)).with_code(1).with_ledger(LEDGER);
            transfer.with_debit_account_id(OPERATOR).with_credit_account_id(id).with_amount(CAPACITY)
        };
        self.send(Events::Transfers(numbers().map(grant).collect()))
    }

    /// Sends one request and waits for its reply. Fails if the ledger refuses any event of it.
    fn send(&self, events: Events) -> Result<(), Failure> {
        let (reply, replied) = sync_channel(1);
        let operation = match events {
            Events::Transfers(_) => OperationKind::CreateTransfers,
            Events::Accounts(_) => OperationKind::CreateAccounts,
        };
        self.0.submit(client::Packet::new(Box::new(Pending { events, reply }), operation));
        let failures = replied.recv().map_err(|_| Failure::Ended)??;
        if failures.is_empty() { Ok(()) } else { Err(Failure::Refused(failures.len())) }
    }
}

/// Sends requests of `transfers` pending transfers on all sessions concurrently, each session one request after
/// another. Returns the transfers made per second, in `time` after `warmup`.
pub(crate) fn transfers_per_second(
    sessions: &[Session],
    transfers: usize,
    limits: usize,
    timeout_seconds: u32,
    warmup: Duration,
    time: Duration,
) -> Result<f64, Failure> {
    let begin = Instant::now() + warmup;
    let run = |session: &Session, lane: usize| -> Result<f64, Failure> {
        let send = || session.send(Events::Transfers(reservations(transfers, lane, limits, timeout_seconds)));
        while Instant::now() < begin {
            send()?;
        }
        // Measures from one reply to another, so that only whole requests count.
        let (started, mut made) = (Instant::now(), 0);
        while started.elapsed() < time {
            send()?;
            made += transfers;
        }
        Ok(made as f64 / started.elapsed().as_secs_f64())
    };
    std::thread::scope(|scope| {
        let start = |(lane, session)| scope.spawn(move || run(session, lane));
        let lanes: Vec<_> = sessions.iter().enumerate().map(start).collect();
        lanes.into_iter().map(|lane| lane.join().map_err(|_| Failure::Panicked)?).sum()
    })
}

/// Sends one pending transfer at a time. Returns the median time of a round trip, in microseconds.
pub(crate) fn round_trip_us(
    session: &Session,
    limits: usize,
    timeout_seconds: u32,
    time: Duration,
) -> Result<f64, Failure> {
    let end = Instant::now() + time;
    let mut times = Vec::new();
    while Instant::now() < end {
        let transfers = reservations(1, 0, limits, timeout_seconds);
        let started = Instant::now();
        session.send(Events::Transfers(transfers))?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(crate::rounds::Spread::of(times)?.median)
}

/// Pending transfers with ids in the order of time, on one limit after another. As a transfer of the service carries
/// its lease id, each carries a value of its own in `user_data_128`.
fn reservations(count: usize, lane: usize, limits: usize, timeout_seconds: u32) -> Vec<Transfer> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let first_limit = rand::random::<u32>() as usize;
    let first = transfer_id(since_epoch.as_nanos(), lane as u128);
    let reservation = |number: usize| {
        let id = first + ((number as u128) << 8);
        Transfer::new(id)
            .with_user_data_128(id)
            .with_debit_account_id(((first_limit + number) % limits + 1) as u128)
            .with_credit_account_id(OPERATOR)
            .with_amount(1)
            .with_code(1)
            .with_ledger(LEDGER)
            .with_timeout(timeout_seconds)
            .with_flags(transfer::Flags::PENDING)
    };
    (0..count).map(reservation).collect()
}

/// An id with the time in its high bits and a number in its low bits.
fn transfer_id(time: u128, number: u128) -> u128 {
    (time << 24) + number + 1
}

impl client::UserData for Pending {
    fn data(&self) -> &[u8] {
        match &self.events {
            Events::Transfers(transfers) => bytemuck::cast_slice(transfers),
            Events::Accounts(accounts) => bytemuck::cast_slice(accounts),
        }
    }
}

impl client::Callbacks for Completions {
    type UserDataPtr = Box<Pending>;

    fn completion(&self, packet: client::Packet<Self::UserDataPtr>, reply: Option<client::Reply<'_>>) {
        let result = packet.status().map(|()| reply.map_or(Vec::new(), |reply| reply.payload.to_vec()));
        // The send can only fail while this process ends, because the caller waits for the reply.
        packet.into_user_data().reply.send(result).ok();
    }
}
