//! The machine and the versions of a run.

use std::process::Command;

use crate::measures::Pace;
use crate::processes;

/// The head of the report: machine, versions and settings.
pub(crate) fn head(pace: Pace) -> String {
    let pace = match pace {
        Pace::Full => "full",
        Pace::Quick => "short rounds (--quick), only to see that everything runs",
    };
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |path: &str, name: &str| -> String {
        let text = file(path);
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let lines = [
        ("measured at", first_line("date", &["-u", "+%F %H:%M UTC"])),
        ("ratelimiterd", first_line("git", &["describe", "--always", "--dirty", "--exclude=*"])),
        ("machine", format!("{cores} cores, {}", field("/proc/cpuinfo", "model name"))),
        ("memory", field("/proc/meminfo", "MemTotal")),
        ("kernel", file("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("load before the run", file("/proc/loadavg").trim().to_owned()),
        ("compiler", first_line("rustc", &["--version"])),
        (
            "TigerBeetle",
            processes::tigerbeetle_program()
                .map_or("none".into(), |program| first_line(program, &["version"])),
        ),
        ("Redis", first_line("redis-server", &["--version"])),
        ("rounds", pace.to_owned()),
    ];
    let table: String = lines.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
    format!("# Ratios\n\nWritten by `scripts/bench`.\n\n| | |\n| --- | --- |\n{table}")
}

/// The first line that a program prints.
fn first_line(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or("none").to_owned()
}
