//! From pins as they are written to limits of the space: names become cards, segments and tensors; what does not exist is
//! an error with its place.

use super::weights::{Cut, Held};
use super::{Limits, Region, Spot};
use sailplan_ir::{
    At, DType, Demand, Diagnostic, Diagnostics, Domains, Fleet, Model, Part, Pin, Role, SailId, TensorId,
    block_granule, matches_pattern,
};

/// A cut that lies inside a block of a quantised type, or inside what an operator needs whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Misaligned {
    /// Index of the pin.
    pub(crate) pin: usize,
    /// Cuts lie at multiples of so many elements.
    pub(crate) border: u64,
    /// Element type of the weight.
    pub(crate) dtype: DType,
    /// The nearest cuts that are possible.
    pub(crate) nearest: Vec<u64>,
}

/// The limits that pins stand for, by place in the order of the cards in service. With `round`, cuts move to the nearest
/// border.
pub(crate) fn resolve(pins: &[Pin], model: &Model, fleet: &Fleet, round: bool) -> Result<Limits, Diagnostics> {
    let order = fleet.in_service();
    let limits = Limits::none(order.len(), model.classes.len());
    let mut resolver = Resolver { model, fleet, order, round, limits };
    let mut problems = Diagnostics::default();
    for (index, pin) in pins.iter().enumerate() {
        if let Err(problem) = resolver.pin(index, &pin.demand) {
            let problem = Diagnostic { message: format!("pin `{}`: {}", pin.name, problem.message), ..problem };
            let place = pin.place.clone();
            problems.push(match place {
                Some(place) => problem.at(place.file, place.at),
                None => problem.at("pins", At::Name(pin.name.clone())),
            });
        }
    }
    problems.into_result(resolver.limits)
}

struct Resolver<'a> {
    model: &'a Model,
    fleet: &'a Fleet,
    order: Vec<SailId>,
    round: bool,
    limits: Limits,
}

impl Resolver<'_> {
    fn pin(&mut self, index: usize, demand: &Demand) -> Result<(), Diagnostic> {
        match demand {
            Demand::Layers { layers, on } => {
                let spot = Spot::Within(self.mask(on)?);
                self.region(layers, spot)
            }
            Demand::Group { layers, sails } => {
                let mask = self.mask(sails)?;
                if sails.iter().any(|sail| !self.fleet.serves(sail.index())) {
                    // No group has a lost Sail, so none is the one demanded.
                    return self.region(layers, Spot::Within(vec![false; mask.len()]));
                }
                let group = super::runs(&mask);
                let [group] = &group[..] else {
                    let problem = Diagnostic::new("the Sails are not consecutive in the fleet's link order");
                    return Err(problem.hint("a group is such as [\"sail2\", \"sail3\"]; `Layers` takes any Sails"));
                };
                self.region(layers, Spot::Exactly(group.clone()))
            }
            Demand::Degree { layers, ranks } => {
                let ranks = at_least_one(*ranks)?;
                self.region(layers, Spot::Ranks(ranks))
            }
            Demand::Never(sail) => {
                let mask = self.mask(&[*sail])?;
                self.limits.closed.iter_mut().zip(mask).for_each(|(closed, named)| *closed |= named);
                Ok(())
            }
            Demand::AtMostStages(count) => {
                let (least, most) = (*self.limits.stages.start(), *self.limits.stages.end());
                self.limits.stages = least..=most.min(at_least_one(*count)?);
                Ok(())
            }
            Demand::AtLeastStages(count) => {
                let (least, most) = (*self.limits.stages.start(), *self.limits.stages.end());
                self.limits.stages = least.max(at_least_one(*count)?)..=most;
                Ok(())
            }
            Demand::AtMostSails(count) => {
                self.limits.sails = self.limits.sails.min(at_least_one(*count)?);
                Ok(())
            }
            Demand::Replicated(pattern) => {
                for (class, tensor) in self.weights(pattern)? {
                    self.limits.held[class].whole.push(tensor);
                }
                Ok(())
            }
            Demand::Cut { tensor, axis, at } => self.cut(index, tensor, (*axis, at)),
        }
    }

    /// By place in the order, whether a Sail is named; lost ones have no place.
    fn mask(&self, sails: &[SailId]) -> Result<Vec<bool>, Diagnostic> {
        if sails.is_empty() {
            return Err(Diagnostic::new("no Sail is named").hint("name at least one, as [\"sail0\"]"));
        }
        let size = self.fleet.size();
        if let Some(sail) = sails.iter().find(|sail| sail.index() >= size) {
            let problem = Diagnostic::new(format!("{sail} is not in the fleet of {size}"));
            return Err(problem.hint(format!("its Sails are sail0 to sail{}", size.saturating_sub(1))));
        }
        Ok(self.order.iter().map(|sail| sails.contains(sail)).collect())
    }

    fn region(&mut self, part: &Part, spot: Spot) -> Result<(), Diagnostic> {
        let segments = part.of(self.model.segments.iter().map(|segment| segment.layer));
        let layers = self.model.layers();
        let beyond = matches!(part, Part::Layers(range) if range.end > layers);
        if beyond || !segments.contains(&true) {
            let problem = Diagnostic::new(format!("the model has no part \"{part}\""));
            return Err(problem.hint(format!("it has layers \"0..{layers}\", \"embedding\" and \"head\"")));
        }
        self.limits.regions.push(Region { segments, spot });
        Ok(())
    }

    /// The weights that a pattern names, as classes and tensors of their templates.
    fn weights(&self, pattern: &str) -> Result<Vec<(usize, TensorId)>, Diagnostic> {
        let mut found = Vec::new();
        for (index, class) in self.model.classes.iter().enumerate() {
            let segments = || self.model.segments.iter().filter(|segment| segment.class.index() == index);
            for tensor in class.template.with_role(Role::Weight) {
                let named = |id: TensorId| matches_pattern(pattern, &self.model.graph[id].name);
                let count = segments().filter(|segment| named(segment.tensors[tensor.index()])).count();
                if count == 0 {
                    continue;
                }
                if count < segments().count() {
                    let message = format!("`{pattern}` names a weight of some layers of class {} only", class.name);
                    let hint = "equal layers hold their weights alike: put * in place of the layer's number";
                    return Err(Diagnostic::new(message).hint(hint));
                }
                found.push((index, tensor));
            }
        }
        if found.is_empty() {
            let graph = &self.model.graph;
            let names: Vec<&str> = graph.with_role(Role::Weight).map(|id| graph[id].name.as_str()).take(12).collect();
            let problem = Diagnostic::new(format!("no weight is called `{pattern}`"));
            return Err(problem.hint(format!("weights are called such as {}", names.join(", "))));
        }
        Ok(found)
    }

    fn cut(&mut self, pin: usize, pattern: &str, (axis, at): (u8, &[u64])) -> Result<(), Diagnostic> {
        for (class, tensor) in self.weights(pattern)? {
            let template = &self.model.classes[class].template;
            let domains = Domains::of(template);
            let axes = &template[tensor].axes;
            let Some(size) = axes.get(usize::from(axis)).and_then(|dim| dim.fixed()) else {
                let problem = Diagnostic::new(format!("`{}` has {} axes", template[tensor].name, axes.len()));
                return Err(problem.hint("axis 0 is the outermost"));
            };
            if at.is_empty() || at.windows(2).any(|pair| pair[0] > pair[1]) || at.iter().any(|&cut| cut > size) {
                let problem = Diagnostic::new(format!("the cuts {at:?} do not ascend within the {size} elements"));
                return Err(problem.hint("one cut for every rank but the last, where its share ends"));
            }
            let domain = domains.domain(tensor, axis);
            let unit = domains.elements_per_unit(template, tensor, axis);
            let border = unit.saturating_mul(block_granule(template, &domains, tensor, axis));
            if border == 0 {
                return Err(Diagnostic::new(format!("`{}` cannot be cut along axis {axis}", template[tensor].name)));
            }
            let round = |&cut: &u64| ((cut + border / 2) / border * border).min(size);
            let nearest: Vec<u64> = at.iter().map(round).collect();
            if nearest != at && !self.round {
                let dtype = template[tensor].dtype;
                self.limits.misaligned.push(Misaligned { pin, border, dtype, nearest: nearest.clone() });
            }
            let ends = nearest.iter().copied().chain([size]);
            let starts = std::iter::once(0).chain(nearest.iter().copied());
            // A cut of what covers a domain is one of the domain, at its own borders.
            let lead = domains.lead(domain).unwrap_or(domain);
            let each = domains.units(lead) / domains.units(domain).max(1);
            let shares: Vec<u64> = starts.zip(ends).map(|(start, end)| (end - start) / unit * each).collect();
            let segments = self.model.segments.iter().map(|segment| segment.class.index() == class).collect();
            self.limits.regions.push(Region { segments, spot: Spot::Ranks(shares.len()) });
            let Held { cuts, .. } = &mut self.limits.held[class];
            cuts.push(Cut { tensor, axis, domain: lead, shares });
        }
        Ok(())
    }
}

fn at_least_one(count: u32) -> Result<usize, Diagnostic> {
    if count == 0 {
        return Err(Diagnostic::new("0 is not a count of Sails or stages").hint("give 1 or more"));
    }
    Ok(count as usize)
}
