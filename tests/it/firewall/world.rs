//! A guarded network on the real Docker, a listener on the host, and a place behind the host, all removed at the end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use podspawn::server::firewall::Firewall;
use podspawn_runtimes::{Chosen, Endpoint, Engine, EngineKind, Labels, NetworkSpec, Runtime};

use crate::harness::engines::{EngineName, fact};
use crate::harness::system::random_hex;

/// Seconds for an answer that is expected: reached only by a fault.
pub const LONG: u32 = 60;
/// Seconds after which silence is believed.
pub const SHORT: u32 = 2;

const DOCKER: EngineName = EngineName::Docker;

pub struct World {
    /// Rules under names of this test's own.
    pub firewall: Firewall,
    /// Prefix of its bridges.
    pub bridge_prefix: String,
    /// Start of its chains' names.
    pub chains: String,
    /// Addresses of the host: the network's gateway, and one on another interface.
    pub host_addresses: [Ipv4Addr; 2],
    /// Where the host listens, on every address.
    pub host_port: u16,
    /// The place behind the host, and a link-local address that only it has.
    pub outside: Ipv4Addr,
    pub metadata: Ipv4Addr,
    name: String,
}

impl World {
    pub fn new() -> Self {
        let hex = random_hex();
        let name = format!("podspawn-it-fw-{hex}");
        let bridge_prefix = format!("t{}-", &hex[..6]);
        let chains = format!("TEST-{}", &hex[..8]);
        let firewall = Firewall::named(&bridge_prefix, &chains).expect("names");
        let [a, b, c] = [2, 4, 6].map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
        let subnet = Ipv4Addr::new(198, 18 + (a & 1), b, c & 0xfc).to_bits();
        let mut world = Self {
            firewall,
            bridge_prefix,
            chains,
            host_addresses: [Ipv4Addr::UNSPECIFIED, Ipv4Addr::from_bits(subnet + 1)],
            host_port: listen(),
            outside: Ipv4Addr::from_bits(subnet + 2),
            metadata: Ipv4Addr::new(169, 254, b.clamp(1, 254), c.clamp(1, 254)),
            name,
        };
        world.make_network(&hex);
        world.make_outside(&hex);
        world
    }

    /// Through the crate that the broker uses.
    fn make_network(&mut self, hex: &str) {
        let bridge = format!("{}{}", self.bridge_prefix, &hex[8..14]);
        let spec = NetworkSpec {
            name: self.name.clone(),
            labels: Labels::new(),
            bridge_name: Some(bridge),
            internal: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let chosen = Chosen::at(EngineKind::Docker, Endpoint::Unix(DOCKER.socket().into()));
            let engine = Runtime::connect(&chosen).await.expect("Docker answers");
            engine.create_network(&spec).await.expect("create the network");
        });
        let format = "{{(index .IPAM.Config 0).Gateway}}";
        let gateway = DOCKER.run(&["network", "inspect", "--format", format, &self.name]);
        self.host_addresses[0] = gateway.parse().expect("the gateway's address");
    }

    /// A container without a network gets one end of a pair; the host routes to it.
    fn make_outside(&self, hex: &str) {
        self.start_on("none", "outside", &[53, 80]);
        let format = "{{.State.Pid}}";
        let pid = DOCKER.run(&["inspect", "--format", format, &self.container("outside")]);
        let (here, there) = (format!("v{}a", &hex[..8]), format!("v{}b", &hex[..8]));
        run("ip", &["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &pid]);
        run("ip", &["addr", "add", &format!("{}/30", self.host_addresses[1]), "dev", &here]);
        run("ip", &["link", "set", &here, "up"]);
        let inside = |args: &[&str]| run("nsenter", &[&["-t", &pid, "-n", "ip"], args].concat());
        inside(&["addr", "add", &format!("{}/30", self.outside), "dev", &there]);
        inside(&["addr", "add", &format!("{}/32", self.metadata), "dev", &there]);
        inside(&["link", "set", &there, "up"]);
        run("ip", &["route", "add", &format!("{}/32", self.metadata), "via", &self.outside.to_string()]);
    }

    /// Name of a container.
    pub fn container(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name)
    }

    /// Starts a container on the guarded network that says its name on port 80.
    pub fn start(&self, suffix: &str, runtime: &str) {
        self.start_with(&["--network", &self.name, "--runtime", runtime], suffix, &[80]);
    }

    fn start_on(&self, network: &str, suffix: &str, ports: &[u16]) {
        self.start_with(&["--network", network], suffix, ports);
    }

    /// Who is asked says its name without reading first: a sandbox of gVisor 2022-12 on its container's network answers
    /// one first read of some dozens with EAGAIN, which ends servers as plain as these.
    fn start_with(&self, options: &[&str], suffix: &str, ports: &[u16]) {
        let name = self.container(suffix);
        let serve = |port| {
            format!(
                "nc -ll -p {port} -e echo {suffix} & \
                 until nc -w 1 127.0.0.1 {port} </dev/null 2>&1 | grep -qx {suffix}; do usleep 20000; done; "
            )
        };
        let serving: String = ports.iter().map(serve).collect();
        let script = format!("{serving} echo ready && exec sleep 600");
        let image = fact("IMAGE_BUSYBOX");
        let mut args = vec!["run", "-d", "--init", "--name", &name];
        args.extend(options);
        args.extend([image, "sh", "-c", &script]);
        DOCKER.run(&args);
        let mut logs = DOCKER.cli();
        logs.args(["logs", "-f", &name]).stdout(std::process::Stdio::piped());
        let mut logs = logs.spawn().expect("docker logs");
        let mut line = [0; 6];
        logs.stdout.take().expect("a pipe").read_exact(&mut line).expect("the container serves");
        logs.kill().and_then(|()| logs.wait()).expect("end docker logs");
        assert_eq!(&line, b"ready\n");
    }

    /// Starts a container on another guarded network, as another session's is; gives its address.
    pub fn start_elsewhere(&self, suffix: &str) -> Ipv4Addr {
        let network = self.container("elsewhere");
        let bridge = format!("com.docker.network.bridge.name={}{}", self.bridge_prefix, &random_hex()[..6]);
        DOCKER.run(&["network", "create", "--opt", &bridge, &network]);
        self.start_on(&network, suffix, &[80]);
        let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        let address = DOCKER.run(&["inspect", "--format", &format, &self.container(suffix)]);
        address.parse().expect("a container's address")
    }

    /// Address of a container on the guarded network.
    pub fn address(&self, suffix: &str) -> Ipv4Addr {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}", self.name);
        DOCKER
            .run(&["inspect", "--format", &format, &self.container(suffix)])
            .parse()
            .expect("a container's address")
    }

    /// Runs a script inside; its output if it succeeded.
    pub fn sh(&self, container: &str, script: &str) -> Option<String> {
        let name = self.container(container);
        let output = DOCKER.cli().args(["exec", &name, "sh", "-c", script]).output().expect("docker exec");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Who answers a container at `host:port`. For answers that are expected: a busy machine gets its time.
    pub fn ask(&self, container: &str, host: impl std::fmt::Display, port: u16) -> Option<String> {
        self.ask_for(LONG, container, host, port)
    }

    /// The same where silence is expected, which is believed after a few seconds.
    pub fn ask_in_vain(&self, container: &str, host: impl std::fmt::Display, port: u16) -> Option<String> {
        self.ask_for(SHORT, container, host, port)
    }

    /// Who answers a container at `host:port` within `seconds`, and nobody after that.
    pub fn ask_for(
        &self,
        seconds: u32,
        container: &str,
        host: impl std::fmt::Display,
        port: u16,
    ) -> Option<String> {
        let script = format!("timeout {} nc -w {seconds} {host} {port} </dev/null", seconds + 8);
        self.sh(container, &script).filter(|answer| !answer.is_empty())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let removed = self.firewall.remove();
        let containers = DOCKER.run(&["ps", "-aq", "--filter", &format!("name={}-", self.name)]);
        for container in containers.lines() {
            DOCKER.run(&["rm", "-f", container]);
        }
        DOCKER.run(&["network", "rm", &self.name]);
        let elsewhere = self.container("elsewhere");
        if !DOCKER.run(&["network", "ls", "-q", "--filter", &format!("name={elsewhere}")]).is_empty() {
            DOCKER.run(&["network", "rm", &elsewhere]);
        }
        if !std::thread::panicking() {
            removed.expect("remove the rules");
            for save in ["iptables-save", "ip6tables-save"] {
                assert!(!run(save, &[]).contains(&self.chains), "rules were left");
            }
        }
    }
}

/// A listener of the host on every address that says `host` until the test's process ends; its port.
fn listen() -> u16 {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).expect("listen");
    let port = listener.local_addr().expect("a bound socket").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // Somebody who has gone away already does not matter.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"host\n");
        }
    });
    port
}

/// Runs a command of the host; its output.
#[track_caller]
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
