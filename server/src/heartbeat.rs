//! The heartbeat: a report to a management server, right at the start and then regularly. What becomes of it is of no interest, and nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use crate::api;
use crate::caller::{self, Call, Caller};
use crate::config::{Config, Endpoint, Heartbeat};
use crate::net::limits;
use crate::services::Lasting;

/// How long a report may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How soon a configuration is followed that switches it on.
const LOOK: Duration = Duration::from_secs(1);

/// Reports as configured, for ever; to be run by the caller's thread.
pub async fn run(lasting: Lasting, caller: Caller) {
    let mut failing = false;
    loop {
        let config = lasting.gate.config();
        let Some(settings) = &config.heartbeat else {
            sleep(LOOK).await;
            continue;
        };
        let began = Instant::now();
        let body = api::text(&report(&lasting, &config, settings));
        let (url, tls_ca) = (&settings.url, settings.tls_ca.as_deref());
        let call = Call { url, body: Some(&body), timeout: PATIENCE, tls_ca, limit: 0, traceparent: None };
        let told = caller.call(call).await;
        let to = caller::shown(url);
        let fails = told.is_err();
        match told {
            Ok(answer) => debug!("heartbeat: {to} answers {}", answer.status),
            // One line says that it begins, since it may go on for days.
            Err(e) if failing => debug!("heartbeat: {to}: {e}"),
            Err(e) => warn!("heartbeat: {to}: {e}"),
        }
        failing = fails;
        rest(&lasting, settings, began).await;
    }
}

/// Waits for the next report, or until another configuration speaks of others.
async fn rest(lasting: &Lasting, settings: &Heartbeat, began: Instant) {
    let next = began + settings.interval;
    while Instant::now() < next {
        sleep_until(next.min(Instant::now() + LOOK)).await;
        if lasting.gate.config().heartbeat.as_ref() != Some(settings) {
            return;
        }
    }
}

fn report(lasting: &Lasting, config: &Arc<Config>, settings: &Heartbeat) -> Value {
    let identity = &lasting.identity;
    let ip = settings.ip.clone().unwrap_or_else(|| limits::own_address(config.stats.network).to_string());
    let mut report = json!({
        "device_id": settings.device_id,
        "ip": ip,
        "server": identity.server,
        "service": identity.service,
        "pid": identity.pid.to_string(),
    });
    if settings.summaries {
        let summary = api::summary(&lasting.samples, &lasting.roll, identity);
        report["summaries"] = json!({ "data": summary });
    }
    if settings.ports {
        ports(config, &mut report);
    }
    report
}

/// The endpoints of the services that are on, as they are configured.
fn ports(config: &Config, report: &mut Value) {
    let tell = |endpoints: &[Endpoint]| json!(endpoints.iter().map(ToString::to_string).collect::<Vec<_>>());
    report["rtmp"] = tell(&config.listen);
    if let Some(http) = &config.http_server {
        report["http"] = tell(&http.listen);
    }
    if let Some(api) = &config.http_api {
        report["api"] = tell(&api.listen);
    }
    if let Some(rtc) = &config.rtc_server {
        let mut all = vec![format!("udp://0.0.0.0:{}", rtc.listen)];
        all.extend(rtc.tcp.map(|port| format!("tcp://0.0.0.0:{port}")));
        report["rtc"] = json!(all);
    }
}
