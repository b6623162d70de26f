//! The floor: the least a server can do for its players. One thread, one `send` of one shared slice per player and
//! batch, and nothing else; what it costs is the kernel's price, and a server is measured in multiples of it.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bench::{net, stamp};
use clap::Parser;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

#[derive(Parser)]
#[command(about = "Sends every connection the same bytes at a fixed interval: the price of the kernel alone")]
struct Arguments {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// Rate per player
    #[arg(long, default_value_t = 1000.0)]
    kbps: f64,
    /// Milliseconds between batches
    #[arg(long, default_value_t = 33)]
    interval: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> bench::Result<()> {
    net::raise_file_limit()?;
    let listener = TcpListener::bind(arguments.listen)?;
    listener.set_nonblocking(true)?;
    let interval = Duration::from_millis(arguments.interval);
    let size = (arguments.kbps * arguments.interval as f64 / 8.0) as usize;
    let mut players: Vec<TcpStream> = Vec::new();
    let mut batch = Vec::with_capacity(size);
    let mut next = Instant::now();
    loop {
        while let Some(player) = accept(&listener)? {
            players.push(player);
        }
        batch.clear();
        stamp::write_bare(&mut batch, net::now());
        batch.resize(size.max(batch.len()), 0xaa);
        // A player that has no room misses the batch: the floor keeps nothing for anybody.
        players
            .retain(|player| matches!(send(player, &batch, SendFlags::NOSIGNAL), Ok(_) | Err(Errno::AGAIN)));
        next += interval;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((player, _)) => {
            player.set_nonblocking(true)?;
            player.set_nodelay(true)?;
            Ok(Some(player))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
