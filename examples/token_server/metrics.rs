//! Metrics for Prometheus, on an address of their own: they are for operators alone.

use axum::Router;

use crate::Problem;

/// Installs the recorder, before anything is counted. Returns the route `GET /metrics`.
#[cfg(feature = "metrics")]
pub(crate) fn install() -> Result<Router, Problem> {
    use std::time::Duration;

    use axum::routing::get;
    use metrics_exporter_prometheus::PrometheusBuilder;

    /// In seconds: from a cached check to the deadline of a store.
    const BUCKETS: [f64; 8] = [0.001, 0.005, 0.02, 0.05, 0.2, 0.5, 2.0, 5.0];
    const UPKEEP: Duration = Duration::from_secs(5);

    let handle = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(Router::new().route("/metrics", get(move || async move { handle.render() })))
}

#[cfg(not(feature = "metrics"))]
pub(crate) fn install() -> Result<Router, Problem> {
    Err("this program was built without the feature metrics".into())
}
