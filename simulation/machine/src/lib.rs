//! Clocks and random bytes of a simulated machine, in place of those of the operating system.
//!
//! A test binary that links this crate gets its `clock_gettime` and its `getrandom` from here. A thread that never called
//! [`enter`] asks the operating system, as before. A thread that did gets clocks that stand where [`set_clocks`] put them, and
//! random bytes that follow from a seed. So the code under test needs no hooks: the standard library's clocks and hash seeds,
//! and the generators of `rand` and `ulid`, which seed themselves once in each thread, all follow from the seed.
//!
//! This is a crate of its own because it replaces two functions of the C library, which is unsafe code. The limiter forbids
//! that.

use std::cell::Cell;

use libc::{c_int, c_long, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// What a thread of a simulation reads.
#[derive(Clone, Copy)]
struct Machine {
    random: u64,
    wall_ns: u64,
    monotonic_ns: u64,
}

thread_local! {
    static MACHINE: Cell<Option<Machine>> = const { Cell::new(None) };
}

/// Makes this thread a part of a simulation, for the rest of its life. Its clocks begin at zero.
pub fn enter(seed: u64) {
    MACHINE.set(Some(Machine { random: seed, wall_ns: 0, monotonic_ns: 0 }));
}

/// Sets the clocks of this thread, in nanoseconds: the wall clock since the Unix epoch, and the monotonic clock. Does nothing
/// in a thread that is no part of a simulation.
pub fn set_clocks(wall_ns: u64, monotonic_ns: u64) {
    if let Some(machine) = MACHINE.get() {
        MACHINE.set(Some(Machine { wall_ns, monotonic_ns, ..machine }));
    }
}

impl Machine {
    /// The next number of SplitMix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Reads a clock, as the function of the C library does.
///
/// # Safety
///
/// `time` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    let shown_ns = MACHINE.get().and_then(|machine| match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => Some(machine.wall_ns),
        libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_BOOTTIME => Some(machine.monotonic_ns),
        _ => None,
    });
    let Some(shown_ns) = shown_ns else {
        // SAFETY: the arguments are those of the caller, who knows what the function needs.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, c_long::from(clock), time) } as c_int;
    };
    let shown = timespec { tv_sec: (shown_ns / NS_PER_SECOND) as _, tv_nsec: (shown_ns % NS_PER_SECOND) as _ };
    // SAFETY: the caller hands over a place for a time.
    unsafe { time.write(shown) };
    0
}

/// Fills a buffer with random bytes, as the function of the C library does.
///
/// # Safety
///
/// `buffer` must be valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    let Some(mut machine) = MACHINE.get() else {
        // SAFETY: the arguments are those of the caller, who knows what the function needs.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, c_long::from(flags)) } as ssize_t;
    };
    for index in 0..length {
        // SAFETY: the index is below the length, for which the caller vouches.
        unsafe { buffer.cast::<u8>().add(index).write(machine.next() as u8) };
    }
    MACHINE.set(Some(machine));
    length as ssize_t
}
