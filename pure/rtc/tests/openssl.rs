//! Our DTLS against the command line tool of OpenSSL, both ways round: P-256 and RSA, small datagrams, cookies, a bad link. Where
//! the tool is missing, these tests say so and pass.

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
mod openssl {
    use std::io::{Read, Write};
    use std::net::UdpSocket;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use media::Micros;
    use rtc::dtls::{self, Certificate, Connected, Event, Options, Role};
    use rtc::srtp::Profile;

    const PROFILES: &str = "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80";

    /// Kinds of keys, as the tool makes them.
    const P256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    const P384: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"];
    const ED25519: &[&str] = &["ed25519"];
    const RSA: &[&str] = &["rsa:2048"];

    fn tool(arguments: &[&str]) -> Option<Vec<u8>> {
        let output = Command::new("openssl").args(arguments).output().ok()?;
        assert!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(output.stdout)
    }

    /// A folder with a key and a certificate, `None` without the tool.
    struct Identity {
        folder: PathBuf,
    }

    impl Identity {
        fn new(name: &str, kind: &[&str]) -> Option<Self> {
            let folder = std::env::temp_dir().join(format!("oxcast-dtls-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let identity = Self { folder };
            let (key, certificate) = (identity.file("key.pem"), identity.file("cert.pem"));
            let rest = ["-nodes", "-subj", "/CN=x", "-keyout", &key, "-out", &certificate];
            match tool(&[&["req", "-x509", "-newkey"], kind, &rest].concat()) {
                Some(_) => Some(identity),
                None => {
                    println!("skipped: there is no openssl here");
                    None
                }
            }
        }

        fn file(&self, name: &str) -> String {
            self.folder.join(name).to_str().unwrap().to_owned()
        }

        fn der(&self) -> Vec<u8> {
            tool(&["x509", "-in", &self.file("cert.pem"), "-outform", "DER"]).unwrap()
        }

        fn certificate(&self) -> Arc<Certificate> {
            let (key, der) = (self.file("key.pem"), self.der());
            let pkcs8 = tool(&["pkcs8", "-topk8", "-nocrypt", "-in", &key, "-outform", "DER"]).unwrap();
            Arc::new(Certificate::from_der(der, &pkcs8).unwrap())
        }
    }

    impl Drop for Identity {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    /// The running tool, and what it has printed.
    struct Tool {
        child: Child,
        printed: Arc<Mutex<String>>,
    }

    impl Tool {
        fn run(arguments: &[&str]) -> Self {
            let mut child = Command::new("openssl")
                .args(arguments)
                .args([
                    "-use_srtp",
                    PROFILES,
                    "-keymatexport",
                    "EXTRACTOR-dtls_srtp",
                    "-keymatexportlen",
                    "56",
                ])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let printed = Arc::new(Mutex::new(String::new()));
            let (mut pipe, copy) = (child.stdout.take().unwrap(), printed.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                    copy.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
                }
            });
            Self { child, printed }
        }

        /// Waits until the tool has printed this, and gives what follows in the line.
        fn printed(&self, what: &str) -> String {
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(8) {
                let printed = self.printed.lock().unwrap().clone();
                if let Some((line, _)) = printed.split_once(what).and_then(|(_, rest)| rest.split_once('\n'))
                {
                    return line.trim().to_owned();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            panic!("openssl did not print {what:?} but {}", self.printed.lock().unwrap());
        }
    }

    impl Drop for Tool {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Lets our end talk over the socket until it is connected and quiet; loses each datagram by chance.
    fn talk(socket: &UdpSocket, options: Options, loss: f64) -> Box<Connected> {
        let start = Instant::now();
        let now = || Micros(start.elapsed().as_micros() as i64);
        let mut random = fastrand::Rng::with_seed(3);
        let mut end = dtls::start(now(), options).unwrap();
        let mut connected = None;
        let mut quiet = Instant::now();
        let mut peer = socket.peer_addr().ok();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        while start.elapsed() < Duration::from_secs(9) {
            while let Some(datagram) = end.poll_transmit() {
                if random.f64() >= loss {
                    socket.send_to(&datagram, peer.unwrap()).unwrap();
                }
            }
            match end.poll_event() {
                Some(Event::Connected(fruits)) => connected = Some(fruits),
                Some(Event::Closed(error)) => panic!("{error}"),
                None => {}
            }
            // Our last flight may have been lost; the tool repeats after a second.
            if connected.is_some() && (loss == 0.0 || quiet.elapsed() > Duration::from_millis(1500)) {
                break;
            }
            let mut buffer = [0; 2048];
            if let Ok((n, from)) = socket.recv_from(&mut buffer) {
                peer = Some(from);
                quiet = Instant::now();
                if random.f64() >= loss {
                    end.receive(now(), &buffer[..n]).unwrap();
                }
            }
            end.timeout(now());
        }
        connected.expect("connected in time")
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    fn assert_agreed(tool: &Tool, theirs: &Identity, fruits: &Connected) {
        assert_eq!(fruits.profile, Some(Profile::AeadAes128Gcm));
        assert_eq!(tool.printed("Keying material: "), hex(&fruits.keying));
        assert_eq!(fruits.certificate, theirs.der());
    }

    fn serve(name: &str, keys: [&[&str]; 2], mtu: &str, loss: f64, extra: &[&str]) {
        let Some(theirs) = Identity::new(name, keys[0]) else { return };
        let ours = Identity::new(&format!("{name}-ours"), keys[1]).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let (key, certificate) = (theirs.file("key.pem"), theirs.file("cert.pem"));
        let arguments =
            ["s_client", "-dtls1_2", "-connect", &address, "-cert", &certificate, "-key", &key, "-mtu", mtu];
        let tool = Tool::run(&[&arguments, extra].concat());
        let mut options = Options::new(Role::Server, ours.certificate());
        options.mtu = mtu.parse().unwrap();
        let fruits = talk(&socket, options, loss);
        assert_agreed(&tool, &theirs, &fruits);
    }

    fn connect(name: &str, keys: [&[&str]; 2], mtu: &str, loss: f64, extra: &[&str]) {
        let Some(theirs) = Identity::new(name, keys[0]) else { return };
        let ours = Identity::new(&format!("{name}-ours"), keys[1]).unwrap();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let (key, certificate) = (theirs.file("key.pem"), theirs.file("cert.pem"));
        let arguments = [
            "s_server",
            "-dtls1_2",
            "-accept",
            &address,
            "-cert",
            &certificate,
            "-key",
            &key,
            "-mtu",
            mtu,
            "-Verify",
            "1",
        ];
        let mut tool = Tool::run(&[&arguments, extra].concat());
        tool.printed("ACCEPT");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(&address).unwrap();
        let mut options = Options::new(Role::Client, ours.certificate());
        options.mtu = mtu.parse().unwrap();
        let fruits = talk(&socket, options, loss);
        assert_agreed(&tool, &theirs, &fruits);
        let _ = tool.child.stdin.take().map(|mut stdin| stdin.write_all(b"Q\n"));
    }

    #[test]
    fn serves_a_p256_client() {
        serve("serve-ec", [P256, P256], "1200", 0.0, &[]);
    }

    #[test]
    fn serves_an_rsa_client() {
        serve("serve-rsa", [RSA, P256], "1200", 0.0, &[]);
    }

    #[test]
    fn serves_by_an_rsa_certificate_in_small_datagrams() {
        serve("serve-by-rsa", [RSA, RSA], "300", 0.0, &[]);
    }

    #[test]
    fn serves_clients_with_other_keys() {
        serve("serve-p384", [P384, P256], "1200", 0.0, &[]);
        serve("serve-ed25519", [ED25519, P256], "1200", 0.0, &[]);
    }

    #[test]
    fn serves_clients_that_offer_little() {
        let groups = ["-groups", "P-384"];
        serve("serve-group", [P256, RSA], "1200", 0.0, &groups);
        serve("serve-ec-only", [P256, P256], "1200", 0.0, &["-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]);
        serve("serve-rsa-only", [P256, RSA], "1200", 0.0, &["-cipher", "ECDHE-RSA-AES128-GCM-SHA256"]);
    }

    #[test]
    fn serves_over_a_bad_link() {
        serve("serve-loss", [RSA, P256], "400", 0.15, &[]);
    }

    #[test]
    fn connects_to_a_p256_server_that_wants_a_cookie() {
        connect("connect-ec", [P256, P256], "1200", 0.0, &["-listen"]);
    }

    #[test]
    fn connects_to_an_rsa_server_in_small_datagrams() {
        connect("connect-rsa", [RSA, P256], "300", 0.0, &[]);
    }

    #[test]
    fn connects_by_an_rsa_certificate() {
        connect("connect-by-rsa", [P256, RSA], "1200", 0.0, &[]);
    }

    #[test]
    fn connects_over_a_bad_link() {
        connect("connect-loss", [RSA, P256], "400", 0.15, &[]);
    }
}
