//! How many a vhost serves at once, together and from one address; and how much a publisher may send.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Settings;
use crate::config::{self, Most};
use crate::session::Session;

/// Who is there, and who is about to be.
#[derive(Default)]
pub(super) struct Limits(Mutex<HashMap<String, Crowd>>);

/// The clients of a vhost.
#[derive(Default)]
struct Crowd {
    all: Count,
    of_ip: HashMap<IpAddr, Count>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    publishers: u32,
    players: u32,
}

/// A place among them; dropping it leaves.
pub(super) struct Place {
    limits: Arc<Limits>,
    vhost: String,
    ip: IpAddr,
    publishes: bool,
}

impl Limits {
    /// Takes a place in a vhost.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(super) fn enter(
        self: &Arc<Self>,
        vhost: &str,
        limits: &config::Limits,
        publishes: bool,
        ip: IpAddr,
    ) -> Result<Place, String> {
        let ip = network(ip);
        let mut crowds = self.0.lock();
        let crowd = crowds.entry(vhost.to_owned()).or_default();
        let mine = crowd.of_ip.get(&ip).copied().unwrap_or_default();
        check(&crowd.all, &limits.all, publishes, "here")?;
        check(&mine, &limits.ip, publishes, &format!("from {ip}"))?;
        *crowd.all.of(publishes) += 1;
        *crowd.of_ip.entry(ip).or_default().of(publishes) += 1;
        Ok(Place { limits: self.clone(), vhost: vhost.to_owned(), ip, publishes })
    }

    fn leave(&self, place: &Place) {
        let mut crowds = self.0.lock();
        let Some(crowd) = crowds.get_mut(&place.vhost) else { return };
        *crowd.all.of(place.publishes) -= 1;
        if let Some(mine) = crowd.of_ip.get_mut(&place.ip) {
            *mine.of(place.publishes) -= 1;
            if mine.sum() == 0 {
                crowd.of_ip.remove(&place.ip);
            }
        }
        if crowd.all.sum() == 0 {
            crowds.remove(&place.vhost);
        }
    }
}

impl Count {
    fn of(&mut self, publishes: bool) -> &mut u32 {
        if publishes { &mut self.publishers } else { &mut self.players }
    }

    fn sum(&self) -> u32 {
        self.publishers + self.players
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limits.leave(self);
    }
}

fn check(count: &Count, most: &Most, publishes: bool, place: &str) -> Result<(), String> {
    let (have, limit, what) = match publishes {
        true => (count.publishers, most.streams, "publishers"),
        false => (count.players, most.players, "players"),
    };
    for (have, limit, what) in [(have, limit, what), (count.sum(), most.connections, "clients")] {
        if let Some(limit) = limit.filter(|limit| have >= *limit) {
            return Err(format!("too many {what} {place}: the limit is {limit}"));
        }
    }
    Ok(())
}

/// Whoever has one address of IPv6 has a whole network of them.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// How often it is looked at what publishers send.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Ends a publisher that sends more than its vhost allows, for too long. Runs until the session is gone; the limit may change meanwhile. It looks
/// this often.
pub(super) async fn watch_bitrate(session: Weak<Session>, mut settings: Settings, look: Duration) {
    loop {
        let limits = settings.now().limits.clone();
        let mut watch = pin!(async {
            match limits.bitrate {
                Some(limit) => watch_limit(&session, limit, limits.bitrate_grace, look).await,
                None => std::future::pending().await,
            }
        });
        loop {
            tokio::select! {
                () = &mut watch => return,
                now = settings.changed() => if now.limits != limits { break },
            }
        }
    }
}

/// The same with a limit, in bits per second, that stays as it is.
async fn watch_limit(session: &Weak<Session>, limit: u64, grace: Duration, look: Duration) {
    let mut ticks = interval(look);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let Some(start) = session.upgrade().map(|session| session.counters.received()) else { return };
    let mut bucket = Bucket { limit, grace, received: start, excess: 0.0 };
    let mut before = Instant::now();
    loop {
        ticks.tick().await;
        let Some(session) = session.upgrade() else { return };
        let passed = before.elapsed();
        before += passed;
        if let Some(rate) = bucket.fill(session.counters.received(), passed) {
            let (rate, limit) = (rate / 1000, limit / 1000);
            return session.kick(format!("the publisher sends {rate} kbit/s, the limit is {limit} kbit/s"));
        }
    }
}

/// What was sent beyond the limit and has not been made up for.
struct Bucket {
    limit: u64,
    grace: Duration,
    received: u64,
    excess: f64,
}

impl Bucket {
    /// So many bytes were received until now; the rate, if it has been too high for too long.
    fn fill(&mut self, received: u64, passed: Duration) -> Option<u64> {
        let bits = received.saturating_sub(self.received) as f64 * 8.0;
        self.received = received;
        let seconds = passed.as_secs_f64().max(0.001);
        self.excess = (self.excess + bits - self.limit as f64 * seconds).max(0.0);
        (self.excess > self.limit as f64 * self.grace.as_secs_f64()).then_some((bits / seconds) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_vhost_and_address() {
        let limits = Arc::<Limits>::default();
        let rules = config::Limits {
            all: Most { connections: Some(4), streams: None, players: Some(3) },
            ip: Most { connections: None, streams: Some(1), players: Some(2) },
            ..config::Limits::default()
        };
        let enter =
            |vhost: &str, publishes, ip: &str| limits.enter(vhost, &rules, publishes, ip.parse().unwrap());
        let publisher = enter("a", true, "192.0.2.1").unwrap();
        assert_eq!(
            enter("a", true, "192.0.2.1").err().unwrap(),
            "too many publishers from 192.0.2.1: the limit is 1"
        );
        let _players = ["2001:db8::1", "2001:db8::2:0:0:1"].map(|ip| enter("a", false, ip).unwrap());
        assert_eq!(
            enter("a", false, "2001:db8::9").err().unwrap(),
            "too many players from 2001:db8::: the limit is 2"
        );
        let _third = enter("a", false, "192.0.2.2").unwrap();
        assert_eq!(enter("a", false, "192.0.2.3").err().unwrap(), "too many players here: the limit is 3");
        assert_eq!(enter("a", true, "192.0.2.3").err().unwrap(), "too many clients here: the limit is 4");
        drop(enter("b", false, "192.0.2.3").unwrap());
        drop(publisher);
        drop(enter("a", true, "192.0.2.1").unwrap());
        drop((_players, _third));
        assert!(limits.0.lock().is_empty());
    }

    #[tokio::test]
    async fn a_limit_may_come_later() {
        let vhost = |text: &str| {
            let text = format!("listen 1935; vhost __defaultVhost__ {{ {text} }}");
            let config = config::Config::parse("t.conf", text.as_bytes(), &config::Environment::default());
            Arc::new(config.unwrap())
        };
        let book = super::super::settings::Book::default();
        let free = vhost("");
        let settings = book.follow(&free.vhosts[0], || free.clone());
        let session = Session::new(([192, 0, 2, 1], 1).into());
        let look = Duration::from_millis(5);
        let watch = tokio::spawn(watch_bitrate(Arc::downgrade(&session), settings, look));
        session.counters.add_received(1 << 30);
        tokio::time::sleep(look * 4).await;
        book.turn(&vhost("limits { enabled on; bitrate 400; bitrate_grace 1; }"));
        tokio::time::sleep(look * 4).await;
        assert!(!watch.is_finished(), "what came before the limit does not count");
        session.counters.add_received(1 << 30);
        assert!(session.kicked().await.ends_with("the limit is 400 kbit/s"));
    }

    #[test]
    fn a_burst_is_no_excess() {
        let (second, mut sent) = (Duration::from_secs(1), 0);
        let mut bucket = Bucket { limit: 8000, grace: second * 5, received: 0, excess: 0.0 };
        let mut send = |bytes: u64| {
            sent += bytes;
            bucket.fill(sent, second)
        };
        // Five seconds' worth at once, made up for; then twice the limit.
        assert_eq!(send(6000), None);
        assert!((0..10).all(|_| send(0).is_none()));
        assert!((0..5).all(|_| send(2000).is_none()));
        assert_eq!(send(2000), Some(16_000));
    }
}
