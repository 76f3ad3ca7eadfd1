//! What a controller is built from: options as the caller gives them, settings as they hold.

use serde::{Deserialize, Serialize};

use crate::environment;
use crate::error::{Error, Result};
use crate::kernel::{Checkpoint, accumulate};

/// Name of the route that tokens without one take.
pub const DEFAULT_ROUTE: &str = "default";

/// A threshold never gets smaller than this, so that dividing by it stays meaningful.
pub const MIN_THRESHOLD: f64 = 1e-6;

/// The most checkpoints of a controller, so that one byte can count them.
pub const MAX_CHECKPOINTS: usize = 255;

/// One checkpoint of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    /// The model's layer after which the probe runs, counted from 0.
    pub layer_idx: u32,
    /// Share of tokens that should have exited at or before this layer, in (0, 1].
    pub target_exit_rate: f64,
    /// Threshold before calibration, the scale of this layer's confidence; > 0.
    pub initial_threshold: f64,
    /// Weight of this layer's confidence, >= 0; `None` reads `SEDAC_LAYER_WEIGHTS`.
    pub confidence_weight: Option<f64>,
    /// Accumulated confidence that triggers the exit, > 0. `None`: the target exit rate until
    /// calibration solves it. A value given here is kept through calibration.
    pub confidence_target: Option<f64>,
}

impl LayerConfig {
    /// A checked checkpoint.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming the first value outside its range.
    pub fn new(
        layer_idx: i64,
        target_exit_rate: f64,
        initial_threshold: f64,
        confidence_weight: Option<f64>,
        confidence_target: Option<f64>,
    ) -> Result<Self> {
        let index = i32::try_from(layer_idx).ok().and_then(|index| u32::try_from(index).ok());
        let layer_idx =
            index.ok_or_else(|| parameter("layer_idx", layer_idx, "a layer index from 0 to 2147483647"))?;
        let config =
            Self { layer_idx, target_exit_rate, initial_threshold, confidence_weight, confidence_target };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let (rate, threshold) = (self.target_exit_rate, self.initial_threshold);
        require(rate > 0.0 && rate <= 1.0, "target_exit_rate", rate, "above 0 and at most 1")?;
        let scale = MIN_THRESHOLD..=f64::from(f32::MAX);
        require(scale.contains(&threshold), "initial_threshold", threshold, "finite and at least 1e-6")?;
        if let Some(weight) = self.confidence_weight {
            require((0.0..=1e6).contains(&weight), "confidence_weight", weight, "from 0 to 1e6")?;
        }
        if let Some(target) = self.confidence_target {
            // Smaller than f32 can hold would round to 0, and then everything would exit.
            let range = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX);
            require(range.contains(&target), "confidence_target", target, "finite and above 0")?;
        }
        Ok(())
    }
}

/// The checkpoints of a model of 28 or more layers: 7, 14 and 21.
#[must_use]
pub fn default_layers() -> Vec<LayerConfig> {
    [(7, 0.2, 0.8), (14, 0.5, 1.0), (21, 0.8, 1.2)]
        .map(|(layer_idx, target_exit_rate, initial_threshold)| LayerConfig {
            layer_idx,
            target_exit_rate,
            initial_threshold,
            confidence_weight: None,
            confidence_target: None,
        })
        .to_vec()
}

/// How a token's exit is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Confidence accumulates over the checkpoints.
    Accumulate,
    /// The older rule: hard exit at the first layer with risk below its threshold.
    SingleLayer,
}

impl Mode {
    /// The mode of that name.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a name that is neither `accumulate` nor `single_layer`.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "accumulate" => Ok(Self::Accumulate),
            "single_layer" => Ok(Self::SingleLayer),
            _ => Err(parameter("mode", format!("{name:?}"), "\"accumulate\" or \"single_layer\"")),
        }
    }

    /// The mode's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accumulate => "accumulate",
            Self::SingleLayer => "single_layer",
        }
    }
}

/// The arguments of a controller; `None` reads the environment.
#[derive(Clone, Debug)]
pub struct Options {
    /// Checkpoints of the default route; `None`: [`default_layers`].
    pub layer_configs: Option<Vec<LayerConfig>>,
    /// Step of the moving average of the thresholds after calibration, in [0, 1].
    pub alpha: f64,
    /// Decay of the accumulated confidence from one checkpoint to the next, in [0, 1].
    pub confidence_decay: Option<f64>,
    /// Whether an exit skips a share of the work (soft) or all of it (hard).
    pub soft_exit_enabled: Option<bool>,
    /// Finite samples needed of every checkpoint before thresholds are set; at least 1.
    pub calibration_steps: usize,
    /// The exit rule.
    pub mode: Mode,
    /// Further routes by name, each with as many checkpoints as the default one.
    pub routes: Vec<(String, Vec<LayerConfig>)>,
    /// Refuse a negative or non-finite risk (true), or count it and treat it as not confident.
    pub strict: bool,
    /// Let the decay follow uncertainty and recent right exits.
    pub adaptive_decay: bool,
    /// Samples kept a checkpoint for solving the confidence targets; at least `calibration_steps`.
    pub calibration_window: usize,
    /// Quantile of the samples that sets the thresholds, in (0, 1]; `None`: each target exit rate.
    pub scale_quantile: Option<f64>,
    /// Number of layers of the model, to check the checkpoints against.
    pub model_depth: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            layer_configs: None,
            alpha: 0.1,
            confidence_decay: None,
            soft_exit_enabled: None,
            calibration_steps: 50,
            mode: Mode::Accumulate,
            routes: Vec::new(),
            strict: true,
            adaptive_decay: false,
            calibration_window: 2048,
            scale_quantile: None,
            model_depth: None,
        }
    }
}

/// A named group of tokens with its own checkpoints, every weight settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The group's name.
    pub name: String,
    /// Its checkpoints.
    pub layers: Vec<LayerConfig>,
}

impl Route {
    /// Weight of checkpoint `i`; settled when the settings were resolved.
    #[must_use]
    pub fn weight(&self, i: usize) -> f64 {
        self.layers[i].confidence_weight.unwrap_or(0.0)
    }
}

/// Options with every default settled, and checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// See [`Options::alpha`].
    pub alpha: f64,
    /// See [`Options::confidence_decay`].
    pub confidence_decay: f64,
    /// See [`Options::soft_exit_enabled`].
    pub soft_exit_enabled: bool,
    /// See [`Options::calibration_steps`].
    pub calibration_steps: usize,
    /// See [`Options::calibration_window`].
    pub calibration_window: usize,
    /// See [`Options::mode`].
    pub mode: Mode,
    /// See [`Options::strict`].
    pub strict: bool,
    /// See [`Options::adaptive_decay`].
    pub adaptive_decay: bool,
    /// See [`Options::scale_quantile`].
    pub scale_quantile: Option<f64>,
    /// The default route, then the others in the order given.
    pub routes: Vec<Route>,
}

impl Settings {
    /// Fills what was left out from the environment, and checks everything.
    ///
    /// # Errors
    /// The variant of [`Error`] for the first thing that is wrong.
    pub fn resolve(options: Options) -> Result<Self> {
        let settings = Self::assemble(options)?;
        settings.check_reachable()?;
        Ok(settings)
    }

    /// As [`Settings::resolve`], for solving confidence targets: those that are there may be out of
    /// reach.
    ///
    /// # Errors
    /// The variant of [`Error`] for the first thing that is wrong.
    pub fn assemble(options: Options) -> Result<Self> {
        let layers = options.layer_configs.unwrap_or_else(default_layers);
        let mut routes = vec![(DEFAULT_ROUTE.to_owned(), layers)];
        routes.extend(options.routes);
        let settings = Self {
            alpha: options.alpha,
            confidence_decay: options.confidence_decay.map_or_else(environment::confidence_decay, Ok)?,
            soft_exit_enabled: options.soft_exit_enabled.map_or_else(environment::soft_exit, Ok)?,
            calibration_steps: options.calibration_steps,
            calibration_window: options.calibration_window,
            mode: options.mode,
            strict: options.strict,
            adaptive_decay: options.adaptive_decay,
            scale_quantile: options.scale_quantile,
            routes: routes.into_iter().map(settle_weights).collect::<Result<_>>()?,
        };
        settings.check()?;
        if let Some(depth) = options.model_depth {
            settings.check_depth(depth)?;
        }
        Ok(settings)
    }

    /// Checks every value, and all but the targets against each other.
    ///
    /// # Errors
    /// The variant of [`Error`] for the first thing that is wrong.
    pub fn check(&self) -> Result<()> {
        require((0.0..=1.0).contains(&self.alpha), "alpha", self.alpha, "from 0 to 1")?;
        let decay = self.confidence_decay;
        require((0.0..=1.0).contains(&decay), "confidence_decay", decay, "from 0 to 1")?;
        require(self.calibration_steps >= 1, "calibration_steps", self.calibration_steps, "at least 1")?;
        let window = self.calibration_window;
        let expected = "at least calibration_steps and at most 16777216";
        require(
            (self.calibration_steps..=1 << 24).contains(&window),
            "calibration_window",
            window,
            expected,
        )?;
        if let Some(quantile) = self.scale_quantile {
            let inside = quantile > 0.0 && quantile <= 1.0;
            require(inside, "scale_quantile", quantile, "above 0 and at most 1")?;
        }
        self.routes.iter().try_for_each(|route| self.check_route(route))
    }

    fn check_route(&self, route: &Route) -> Result<()> {
        let (got, expected) = (route.layers.len(), self.checkpoints());
        if got == 0 {
            return Err(Error::NoLayers { what: format!("the list of layers of route {:?}", route.name) });
        }
        require(got <= MAX_CHECKPOINTS, "number of layers", got, "at most 255")?;
        if got != expected {
            return Err(Error::RouteLayers { name: route.name.clone(), got, expected });
        }
        if self.routes.iter().filter(|other| other.name == route.name).count() > 1 {
            return Err(parameter(
                "routes",
                format!("{:?} twice", route.name),
                "distinct names, none \"default\"",
            ));
        }
        route.layers.iter().try_for_each(LayerConfig::check)?;
        for pair in route.layers.windows(2) {
            let (previous, next) = (pair[0].layer_idx, pair[1].layer_idx);
            if next <= previous {
                return Err(Error::LayerOrder { previous, next });
            }
        }
        Ok(())
    }

    /// Checks that full confidence at every checkpoint, the largest C, gets to each target.
    ///
    /// # Errors
    /// [`Error::Unreachable`] for the first checkpoint where it does not.
    pub fn check_reachable(&self) -> Result<()> {
        if self.mode == Mode::SingleLayer {
            return Ok(());
        }
        self.routes.iter().try_for_each(|route| self.check_reachable_of(route))
    }

    fn check_reachable_of(&self, route: &Route) -> Result<()> {
        let mut reachable = 0.0_f32;
        for (i, layer) in route.layers.iter().enumerate() {
            let target = layer.confidence_target.unwrap_or(layer.target_exit_rate);
            let checkpoint = Checkpoint::new(layer.layer_idx, 1.0, route.weight(i), target);
            reachable = accumulate(&checkpoint, self.confidence_decay as f32, reachable, 0.0);
            // One step above is how calibration says that no token should exit here.
            if reachable.next_up() < checkpoint.target {
                let reachable = f64::from(reachable);
                return Err(Error::Unreachable { layer: layer.layer_idx, target, reachable });
            }
        }
        Ok(())
    }

    fn check_depth(&self, depth: u32) -> Result<()> {
        require(depth >= 1, "model_depth", depth, "at least 1")?;
        let layers = self.routes.iter().flat_map(|route| &route.layers);
        match layers.map(|layer| layer.layer_idx).find(|layer| *layer >= depth) {
            Some(layer) => Err(Error::Depth { layer, depth }),
            None => Ok(()),
        }
    }

    /// Number of checkpoints, the same for every route.
    #[must_use]
    pub fn checkpoints(&self) -> usize {
        self.routes[0].layers.len()
    }

    /// Index of the route of that name.
    ///
    /// # Errors
    /// [`Error::RouteName`] if there is none.
    pub fn route_index(&self, name: &str) -> Result<usize> {
        self.routes.iter().position(|route| route.name == name).ok_or_else(|| Error::RouteName {
            name: name.to_owned(),
            known: self.routes.iter().map(|r| r.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// Gives every layer without a weight its weight of the environment.
fn settle_weights((name, mut layers): (String, Vec<LayerConfig>)) -> Result<Route> {
    if layers.iter().any(|layer| layer.confidence_weight.is_none()) {
        let weights = environment::layer_weights()?;
        if weights.len() != layers.len() {
            let origin = environment::WEIGHTS_ORIGIN;
            return Err(Error::WeightsLength { origin, weights: weights.len(), layers: layers.len() });
        }
        for (layer, weight) in layers.iter_mut().zip(weights) {
            layer.confidence_weight.get_or_insert(weight);
        }
    }
    Ok(Route { name, layers })
}

fn parameter(name: &'static str, value: impl ToString, expected: &'static str) -> Error {
    Error::Parameter { name, value: value.to_string(), expected }
}

fn require(holds: bool, name: &'static str, value: impl ToString, expected: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(parameter(name, value, expected)) }
}
