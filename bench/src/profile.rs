//! Where a server's time goes: `perf` while the load is steady, its samples sorted into a few shares.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::Result;

/// Samples per second; odd, so that they do not keep step with timers.
pub const FREQUENCY: &str = "1999";
/// Symbols that are named one by one.
const NAMED: usize = 25;

/// What a symbol belongs to: the first rule that finds one of its words in the symbol, which is in lower case.
const RULES: [(&str, &[&str]); 8] = [
    ("encryption of media", &["aes", "gcm", "ghash", "gmult", "chacha", "ctr32", "srtp"]),
    (
        "handshakes and hashes",
        &["sha1", "sha256", "sha512", "ecp", "p256", "x25519", "dimpl", "montgomery", "hmac"],
    ),
    ("memory allocation", &["malloc", "calloc", "realloc", "free", "alloc::alloc", "_int_"]),
    ("copies", &["memcpy", "memmove", "memset"]),
    ("sound (AAC and Opus)", &["opus", "celt", "silk", "syom", "mdct", "fft", "quant_", "kiss"]),
    ("tokio", &["tokio", "mio::"]),
    ("system calls, user side", &["syscall", "sendmmsg", "recvmmsg", "epoll_wait", "__libc_"]),
    ("clock", &["clock_gettime", "vdso"]),
];

/// What `perf report` says of one symbol.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    percent: f64,
    object: String,
    symbol: String,
}

/// Reads the samples in `data`, as Markdown: the shares, and the symbols that cost most.
///
/// # Errors
/// When `perf` is absent or cannot read them.
pub fn describe(data: &Path) -> Result<String> {
    let output = Command::new("perf")
        .args(["report", "--stdio", "--no-children", "-g", "none", "--percent-limit", "0"])
        .args(["--sort", "dso,symbol", "--field-separator", "\t", "-i"])
        .arg(data)
        .output()
        .map_err(|error| format!("perf: {error}"))?;
    if !output.status.success() {
        return Err(format!("perf: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(render(&parse(&String::from_utf8_lossy(&output.stdout))))
}

fn parse(report: &str) -> Vec<Entry> {
    let lines = report.lines().filter(|line| !line.starts_with('#'));
    let entries = lines.filter_map(|line| {
        let mut fields = line.split('\t').map(str::trim);
        let percent = fields.next()?.trim_end_matches('%').parse().ok()?;
        let (object, symbol) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        Some(Entry { percent, object, symbol })
    });
    entries.collect()
}

/// Which share it counts for.
fn share(entry: &Entry) -> &'static str {
    if entry.symbol.starts_with("[k]") || entry.object.starts_with("[k") {
        return "kernel";
    }
    let symbol = entry.symbol.to_lowercase();
    let rule = RULES.iter().find(|(_, words)| words.iter().any(|word| symbol.contains(word)));
    rule.map_or("the rest: our own code", |(name, _)| name)
}

fn render(entries: &[Entry]) -> String {
    let mut shares = BTreeMap::<_, f64>::new();
    entries.iter().for_each(|entry| *shares.entry(share(entry)).or_default() += entry.percent);
    let mut shares: Vec<_> = shares.into_iter().collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    let shares = shares.iter().map(|(name, percent)| format!("| {name} | {percent:.1} |\n"));
    let mut named: Vec<_> = entries.iter().collect();
    named.sort_by(|a, b| b.percent.total_cmp(&a.percent));
    let named = named.iter().take(NAMED).map(|entry| {
        format!("| {} | {} | {:.1} |\n", entry.symbol.replace('|', "\\|"), share(entry), entry.percent)
    });
    let (shares, named) = (shares.collect::<String>(), named.collect::<String>());
    format!("| share | % |\n|---|---:|\n{shares}\n| symbol | share | % |\n|---|---|---:|\n{named}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_sorted_into_shares() {
        let report = "# comment\n    30.50%\toxcast\t[.] aes_gcm_enc_update_vaes_avx2\n\
                      20.00%\t[kernel.kallsyms]\t[k] udp_sendmsg\n 10.00%\t[kernel.kallsyms]\t[k] memcpy_orig\n\
                      5.00%\tlibc.so.6\t[.] _int_malloc\n4.50%\toxcast\t[.] rtp::send::Sender::send\n\n";
        let text = render(&parse(report));
        for line in [
            "| encryption of media | 30.5 |",
            "| kernel | 30.0 |",
            "| memory allocation | 5.0 |",
            "| the rest: our own code | 4.5 |",
            "| [k] udp_sendmsg | kernel | 20.0 |",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
