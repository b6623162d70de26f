//! WebRTC: `rtc_server` and `vhost.rtc`.

use std::time::Duration;

use super::{Block, Reader, row};
use crate::config::value::Value;
use crate::config::{DtlsRole, IceServer, IpFamily, Rtc, RtcProtocol, RtcServer};

/// Bit rates that sound can have, in bit/s.
const BITRATES: std::ops::RangeInclusive<i64> = 8_000..=320_000;
/// How often keyframes can be asked for, in seconds.
const KEYFRAMES: std::ops::RangeInclusive<f64> = 0.5..=30.0;
/// Clients check every few seconds, so that less makes no sense.
const LEAST_STUN_TIMEOUT: Duration = Duration::from_secs(1);

impl<'a> Reader<'a> {
    pub(super) fn rtc_server(&mut self, block: Block<'a>) -> Option<RtcServer> {
        if !self.switch(block, "enabled") {
            return None;
        }
        let tcp = block.inner("tcp");
        let tcp = if self.switch(tcp, "enabled") { Some(self.port(tcp)) } else { None };
        Some(RtcServer {
            listen: self.port(block),
            tcp,
            protocol: self.rtc_protocol(block, tcp.is_some()),
            candidate: self.candidate(block),
            auto_detect: self.switch(block, "use_auto_detect_network_ip"),
            ip_family: match self.text(block, "ip_family").as_str() {
                "ipv4" => IpFamily::V4,
                "ipv6" => IpFamily::V6,
                _ => IpFamily::All,
            },
            api_as_candidates: self.switch(block, "api_as_candidates"),
            resolve_api_domain: self.switch(block, "resolve_api_domain"),
            keep_api_domain: self.switch(block, "keep_api_domain"),
            ecdsa: self.switch(block, "ecdsa"),
            encrypt: self.switch(block, "encrypt"),
            ice_servers: self.ice_servers(block),
            black_hole: self.black_hole(block.inner("black_hole")),
        })
    }

    pub(super) fn rtc(&mut self, block: Block<'a>) -> Rtc {
        let enabled = self.switch(block, "enabled");
        let version = self.value(block, "dtls_version");
        if enabled && version.text() == "dtls1.0" {
            let problem = version.problem(self.files, 0, "DTLS 1.0 is not spoken: it is broken since long");
            self.problems.push(problem.help("write `dtls_version auto;`"));
        } else if enabled {
            self.one_of(block, "dtls_version", &["auto", "dtls1.2"], 0);
        }
        Rtc {
            enabled,
            nack: self.switch(block, "nack"),
            twcc: self.switch(block, "twcc"),
            stun_timeout: self.stun_timeout(block),
            stun_strict_check: self.switch(block, "stun_strict_check"),
            dtls_role: match self.one_of(block, "dtls_role", &["passive", "active"], 0) {
                1 => DtlsRole::Active,
                _ => DtlsRole::Passive,
            },
            drop_for_pt: self.payload_type(block),
            rtmp_to_rtc: self.switch(block, "rtmp_to_rtc"),
            keep_bframe: self.switch(block, "keep_bframe"),
            keep_avc_nalu_sei: self.switch(block, "keep_avc_nalu_sei"),
            opus_bitrate: self.bitrate(block, "opus_bitrate"),
            rtc_to_rtmp: self.switch(block, "rtc_to_rtmp"),
            pli_for_rtmp: self.pli_for_rtmp(block),
            aac_bitrate: self.bitrate(block, "aac_bitrate"),
        }
    }

    /// The port `listen` of a block.
    fn port(&mut self, block: Block<'a>) -> u16 {
        let value = self.value(block, "listen");
        let port = u16::try_from(self.int(&value)).unwrap_or(0);
        if port == 0 {
            let message = format!("`{}` is no port", value.text());
            let problem = value.problem(self.files, 0, message);
            self.problems.push(problem.help("write a number between 1 and 65535, without an address"));
        }
        port
    }

    fn rtc_protocol(&mut self, block: Block<'a>, listens_on_tcp: bool) -> RtcProtocol {
        let value = self.value(block, "protocol");
        match value.text() {
            "udp" => RtcProtocol::Udp,
            "tcp" if !listens_on_tcp => {
                let message =
                    "`protocol tcp` without `tcp { enabled on; }` would offer nothing: `udp` counts";
                self.warn(value.problem(self.files, 0, message));
                RtcProtocol::Udp
            }
            "tcp" => RtcProtocol::Tcp,
            _ => RtcProtocol::All,
        }
    }

    /// The address offered; none if it is to be found. A variable may name another one.
    fn candidate(&mut self, block: Block<'a>) -> Option<String> {
        let env = self.env;
        let named = |text: &'a str| match text.strip_prefix('$') {
            Some(name) => env.value(name),
            None => Some(text),
        };
        let value = self.value(block, "candidate");
        let text = named(value.text()).or_else(|| {
            let node =
                crate::config::tree::first(block.nodes, "candidate").filter(|_| value.is_variable())?;
            named(&node.value()?.text)
        });
        let text = text.filter(|text| !matches!(*text, "*" | "0.0.0.0" | "")).map(str::to_owned);
        let odd = |text: &String| text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
        if text.as_ref().is_some_and(odd) {
            let message = format!("`{}` is no address to offer", text.as_deref().unwrap_or_default());
            let problem = value.problem(self.files, 0, message);
            self.problems.push(problem.help("write `*`, an IP address, a host name, or `$NAME`"));
        }
        text
    }

    fn ice_servers(&mut self, block: Block<'a>) -> Vec<IceServer> {
        let mut servers = Vec::new();
        for value in Value::each(row(block.path, "ice_server"), block.nodes) {
            match ice_server(&value.words) {
                Some(server) => servers.push(server),
                None => {
                    let problem = value.problem(self.files, 0, "this is no server of STUN or TURN");
                    let help =
                        "write `stun:host:port`, or `turn:host:port` with a user name and a credential";
                    self.problems.push(problem.help(help));
                }
            }
        }
        servers
    }

    fn black_hole(&mut self, block: Block<'a>) -> Option<std::net::SocketAddr> {
        if !self.switch(block, "enabled") {
            return None;
        }
        let value = self.value(block, "addr");
        let address = value.text().parse().ok();
        if address.is_none() {
            let message = match value.text() {
                "" => "`black_hole` has no `addr`: nothing is copied".to_owned(),
                text => format!("`{text}` is no `ip:port`: nothing is copied"),
            };
            self.warn(value.problem(self.files, 0, message));
        }
        address
    }

    fn stun_timeout(&mut self, block: Block<'a>) -> Duration {
        let time = self.duration(block, "stun_timeout");
        if time < LEAST_STUN_TIMEOUT {
            let message = "`stun_timeout` must be at least 1 s: 1 counts";
            self.warn(self.value(block, "stun_timeout").problem(self.files, 0, message));
        }
        time.max(LEAST_STUN_TIMEOUT)
    }

    fn payload_type(&mut self, block: Block<'a>) -> u8 {
        let value = self.value(block, "drop_for_pt");
        let number = self.int(&value);
        if !(0..=127).contains(&number) {
            let message = format!("`{}` is no payload type: nothing is dropped", value.text());
            self.warn(value.problem(self.files, 0, message));
            return 0;
        }
        u8::try_from(number).unwrap_or(0)
    }

    fn bitrate(&mut self, block: Block<'a>, name: &str) -> u32 {
        let value = self.value(block, name);
        let mut rate = self.int(&value);
        if !BITRATES.contains(&rate) {
            let (least, most) = (BITRATES.start(), BITRATES.end());
            let default = value.row.default;
            let message = format!("`{name}` must be between {least} and {most} bit/s: {default} counts");
            self.warn(value.problem(self.files, 0, message));
            rate = default.parse().unwrap_or(*BITRATES.start());
        }
        u32::try_from(rate).unwrap_or(0)
    }

    fn pli_for_rtmp(&mut self, block: Block<'a>) -> Duration {
        let value = self.value(block, "pli_for_rtmp");
        let mut time = self.float(&value);
        if !KEYFRAMES.contains(&time) {
            let (least, most) = (KEYFRAMES.start(), KEYFRAMES.end());
            let default = value.row.default;
            let message = format!("`pli_for_rtmp` must be between {least} and {most} s: {default} counts");
            self.warn(value.problem(self.files, 0, message));
            time = default.parse().unwrap_or(*KEYFRAMES.start());
        }
        Duration::from_secs_f64(time)
    }
}

/// A server as it is written: its URL, and a user name and a credential, without which TURN serves nobody.
fn ice_server(words: &[&str]) -> Option<IceServer> {
    let (url, login) = match words {
        [url] => (url, None),
        [url, name, credential] => (url, Some((name, credential))),
        _ => return None,
    };
    let (scheme, host) = url.split_once(':')?;
    let fits = match scheme {
        "stun" | "stuns" => true,
        "turn" | "turns" => login.is_some(),
        _ => false,
    };
    // They stand in a header.
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
    let quotable = |text: &&str| text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    let sound = plain(url) && !host.is_empty() && !host.contains(['<', '>', '"']);
    let login_is_sound = login.is_none_or(|(name, credential)| quotable(name) && quotable(credential));
    (fits && sound && login_is_sound).then(|| IceServer {
        url: (*url).to_owned(),
        login: login.map(|(name, credential)| ((*name).to_owned(), (*credential).to_owned())),
    })
}
