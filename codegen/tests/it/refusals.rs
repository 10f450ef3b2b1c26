//! One plan for each reason to refuse one, with the words that are said.

use crate::placements::{plan_of, sound};
use sailplan_codegen::{Instruction, Layers, Plan, Product, Slice, read, write};
use sailplan_ir::{Algorithm, At, Bytes, Constant, Dim, Op, SailId, Verify};

/// Changes a sound plan; the first problem must be at this place and say this.
#[track_caller]
fn refused(name: &str, change: impl Fn(&mut Plan), place: &str, words: &str) {
    let mut plan = plan_of(name);
    sound(&plan);
    change(&mut plan);
    let problems = plan.problems();
    let first = problems.0.first().expect("the plan must be refused");
    assert!(first.message.contains(words), "{problems}");
    assert_eq!(first.place.as_ref().map(|place| &place.at), Some(&At::Name(place.to_owned())), "{problems}");
    let text = read("p.ron", &write(&plan)).unwrap_err();
    assert!(text.0.iter().all(|problem| problem.place.as_ref().is_some_and(|place| place.file == "p.ron")), "{text}");
}

/// The body of the first repeat of a card's prefill program.
fn body(plan: &mut Plan, sail: usize) -> &mut Vec<Instruction> {
    let repeats = plan.sails[sail].prefill.instructions.iter_mut().find_map(|instruction| match instruction {
        Instruction::Repeat { body, .. } => Some(body),
        _ => None,
    });
    repeats.unwrap()
}

fn first(plan: &mut Plan, sail: usize, wanted: impl Fn(&Instruction) -> bool) -> &mut Instruction {
    body(plan, sail).iter_mut().find(|instruction| wanted(instruction)).unwrap()
}

fn op_is(instruction: &Instruction, wanted: &str) -> bool {
    matches!(instruction, Instruction::Kernel { op, .. } if op.row().name == wanted)
}

#[test]
fn of_the_head() {
    refused("one", |plan| plan.version = 1, "version", "version 1 is not 2");
    refused("one", |plan| plan.request.batch = 0, "request", "--batch is 0");
    refused("one", |plan| plan.fleet.inline.sails.clear(), "fleet.inline", "has none");
    refused("one", |plan| plan.fleet.digest.clear(), "fleet.digest", "not that of the inline fleet");
    refused("one", |plan| plan.objective = sailplan_ir::Objective::Decode, "objective", "not the request's");
}

#[test]
fn of_the_model() {
    refused("one", |plan| plan.model.chain.clear(), "model.chain", "empty");
    refused("one", |plan| drop(plan.model.chain.remove(0)), "model.chain[0]", "start with token ids");
    refused("one", |plan| drop(plan.model.chain.pop()), "model.chain", "end in rows of logits");
    refused("one", |plan| plan.model.chain[1].layers = Some(Layers(0..u32::MAX)), "model.chain[1]", "too many");
    refused("one", |plan| plan.model.chain[1].layers = Some(Layers(2..2)), "model.chain[1]", "none");
    refused("one", |plan| plan.model.chain[1].class.push('x'), "model.chain[1]", "no class");
    refused("one", |plan| plan.model.classes[1].nodes[0].inputs[0].push('x'), "model.classes.layer", "no tensor");
    refused("one", |plan| plan.model.classes[1].tensors[1].dims[0] = Dim::Fixed(0), "model.classes.layer", "size 0");
    let twice = |plan: &mut Plan| {
        let class = plan.model.classes[1].clone();
        plan.model.classes.push(class);
    };
    refused("one", twice, "model.classes", "two classes");
    let nan = |plan: &mut Plan| plan.model.classes[1].nodes[0].op = Op::RmsNorm { epsilon: Constant(f32::NAN) };
    refused("one", nan, "model.classes.layer", "no plan can hold");
}

#[test]
fn of_cards_and_groups() {
    refused("reduce", |plan| plan.sails.reverse(), "sails", "order of id");
    refused("reduce", |plan| plan.sails.clear(), "sails", "no Sail has work");
    refused("reduce", |plan| plan.sails[1].sail = SailId(900), "sail900", "only 3 Sails");
    refused("reduce", |plan| plan.sails[1].group.reverse(), "sail1", "two groups");
    refused("pipeline", |plan| plan.sails.iter_mut().for_each(|sail| sail.stage += 1), "sails", "numbered");
    refused("pipeline", |plan| drop(plan.sails.pop()), "stage 1", "not the Sails");
}

#[test]
fn of_replicas() {
    let send = |plan: &mut Plan| {
        let sends = plan.sails[0].prefill.instructions.iter_mut();
        let peer = sends.filter_map(|one| if let Instruction::Send { peer, .. } = one { Some(peer) } else { None });
        peer.for_each(|peer| *peer = SailId(5));
    };
    let sending = |sail: usize| {
        let plan = plan_of("two replicas");
        let mut program = plan.sails[sail].prefill.instructions.iter();
        format!("sail{sail}.prefill[{}]", program.position(|one| matches!(one, Instruction::Send { .. })).unwrap())
    };
    refused("two replicas", send, &sending(0), "sends to sail5, which belongs to another replica");
    let shared = |plan: &mut Plan| plan.sails[5].group = vec![SailId(0)];
    refused("two replicas", shared, "stage 3", "its group is not the Sails that name this stage");
    let later = |plan: &mut Plan| plan.sails.iter_mut().for_each(|sail| sail.replica += 1);
    refused("two replicas", later, "sails", "the replicas are not numbered 0, 1, …");
    refused("two replicas", |plan| plan.sails[1].replica = 1, "sails", "stage 1 is in two replicas");
    let torn = |plan: &mut Plan| plan.sails[5].replica = 2;
    refused("two replicas", torn, &sending(3), "sends to sail5, which belongs to another replica");
    let one = |plan: &mut Plan| plan.sails.iter_mut().for_each(|sail| sail.replica = 0);
    refused("two replicas", one, "prefill", "does not get every column of the logits once");
    let silent = |plan: &mut Plan| {
        let kept = |one: &Instruction| !matches!(one, Instruction::HostSend { .. });
        plan.sails[5].decode.instructions.retain(kept);
    };
    refused("two replicas", silent, "decode", "every column of the logits once from replica 1");
    let goal = |plan: &mut Plan| {
        (plan.objective, plan.request.objective) = (sailplan_ir::Objective::Request, sailplan_ir::Objective::Request);
    };
    refused("two replicas", goal, "sails", "there are 2 replicas, and the objective is request");
}

#[test]
fn of_residents() {
    refused("one", |plan| plan.sails[0].weights[2].offset = Bytes(0), "sail0.weights", "overlap");
    refused("one", |plan| plan.sails[0].weights[1].layers = Some(Layers(0..u32::MAX)), "sail0.weights[1]", "too many");
    refused("one", |plan| plan.sails[0].weights[1].stride = Bytes(u64::MAX - 63), "sail0.weights[1]", "outside");
    refused("one", |plan| plan.sails[0].memory.weights = Bytes(1 << 40), "sail0.memory", "the arenas take 1024 GiB");
    refused("one", |plan| plan.sails[0].load.clear(), "sail0.load", "every weight");
    let inside_a_block = |plan: &mut Plan| {
        let cut = plan.sails[0].weights.iter_mut().find(|weight| weight.name.contains("ffn_down")).unwrap();
        cut.slice = Slice::Cut { axis: 1, start: 0, end: 48 };
    };
    refused("reduce", inside_a_block, "sail0.weights[9]", "cannot be cut so");
    let positions = |plan: &mut Plan| plan.sails[0].caches[0].slice = Slice::Cut { axis: 0, start: 0, end: 8 };
    refused("one", positions, "sail0.caches[0]", "along its positions");
}

#[test]
fn of_loads() {
    refused("reduce", |plan| plan.sails[0].load[1].weight.push('x'), "sail0.load[1]", "no weight of these layers");
    let cache = |plan: &mut Plan| plan.sails[0].load[1].weight = plan.sails[0].caches[0].name.clone();
    refused("reduce", cache, "sail0.load[1]", "no weight of these layers");
    let layers = |plan: &mut Plan| plan.sails[0].load[1].layers = Some(Layers(1..4));
    refused("reduce", layers, "sail0.load[1]", "no weight of these layers");
    refused("reduce", |plan| plan.sails[0].load[1].bytes = Bytes(7), "sail0.load[1]", "not 7 B");
    let twice = |plan: &mut Plan| {
        let load = plan.sails[0].load[0].clone();
        plan.sails[0].load.push(load);
    };
    refused("one", twice, "sail0.load[12]", "is loaded twice");
    refused("one", |plan| drop(plan.sails[0].load.remove(3)), "sail0.load", "`blk.{layer}.attn_k.weight` is missing");
}

#[test]
fn of_loads_between_cards() {
    // Both cards: the table, attn_norm (handed on by sail0), attn_q, …, ffn_norm (too) in place 6.
    let to = |sail| move |plan: &mut Plan| plan.sails[0].load[1].to = Some(SailId(sail));
    refused("reduce", to(0), "sail0.load[1]", "sail0, which is no other Sail with work");
    refused("reduce", to(2), "sail0.load[1]", "sail2, which is no other Sail with work");
    let from_host = |plan: &mut Plan| plan.sails[1].load[1].from = None;
    refused("reduce", from_host, "sail1.load[6]", "hands on another shard of `blk.{layer}.attn_norm.weight`");
    let kept = |plan: &mut Plan| plan.sails[0].load.iter_mut().for_each(|load| load.to = None);
    refused("reduce", kept, "sail1.load[1]", "waits for sail0 to hand on `blk.{layer}.attn_norm.weight`, for ever");
    let alone = |plan: &mut Plan| plan.sails[1].load.iter_mut().for_each(|load| load.from = None);
    refused("reduce", alone, "sail0.load", "sail1 never takes `blk.{layer}.attn_norm.weight`");
    let circle = |plan: &mut Plan| {
        plan.sails[0].load[6].to = None;
        plan.sails[0].load[6].from = Some(SailId(1));
        plan.sails[1].load[6].to = Some(SailId(0));
        plan.sails[1].load[6].from = None;
        sound(plan);
        plan.sails[0].load.swap(1, 6);
    };
    refused("reduce", circle, "sail0.load[1]", "waits for sail1 to hand on `blk.{layer}.ffn_norm.weight`, for ever");
}

/// Where a weight's stream stands in the body of the first repeat of the first card.
fn stream_of(plan: &mut Plan, wanted: &str) -> usize {
    let streams = |one: &Instruction| matches!(one, Instruction::Stream { weight, .. } if weight.contains(wanted));
    body(plan, 0).iter().position(streams).unwrap()
}

#[test]
fn of_streams() {
    let dropped = |plan: &mut Plan| {
        let stream = stream_of(plan, "attn_q");
        body(plan, 0).remove(stream);
    };
    refused("streamed", dropped, "sail0.prefill[3].body[9] in layer 0", "reads `blk.0.attn_q.weight`, which no stream");
    let twice = |plan: &mut Plan| {
        let stream = body(plan, 0)[0].clone();
        body(plan, 0).insert(0, stream);
    };
    refused("streamed", twice, "sail0.prefill[3].body[1] in layer 0", "is there already");
    let late = |plan: &mut Plan| {
        let stream = stream_of(plan, "attn_q");
        let stream = body(plan, 0).remove(stream);
        body(plan, 0).push(stream);
    };
    refused("streamed", late, "sail0.prefill[3].body[9] in layer 0", "which no stream brought");
    let bytes = |plan: &mut Plan| {
        if let Instruction::Stream { bytes, .. } = &mut body(plan, 0)[0] {
            *bytes = Bytes(7);
        }
    };
    refused("streamed", bytes, "sail0.prefill[3].body[0] in layer 0", "streams 7 B of `blk.0.attn_norm.weight`");
    let outside = |plan: &mut Plan| {
        let stream = body(plan, 0).remove(0);
        plan.sails[0].prefill.instructions.insert(3, stream);
    };
    refused("streamed", outside, "sail0.prefill[3]", "names a weight of another layer");
    let resident = |plan: &mut Plan| {
        let (weight, bytes) = (plan.sails[0].weights[1].name.clone(), plan.sails[0].weights[1].bytes);
        body(plan, 0).insert(0, Instruction::Stream { weight, bytes, time: sailplan_ir::Picoseconds(0) });
    };
    refused("reduce", resident, "sail0.prefill[3].body[0] in layer 0", "stays on the card");
    let same_place = |plan: &mut Plan| {
        let norm = plan.sails[0].weights.iter().find(|weight| weight.name.contains("attn_norm")).unwrap().offset;
        let q = plan.sails[0].weights.iter_mut().find(|weight| weight.name.contains("attn_q")).unwrap();
        q.offset = norm;
    };
    refused("streamed", same_place, "sail0.prefill[3].body[9] in layer 0", "which another has overwritten");
}

#[test]
fn of_streamed_residents() {
    let q = |plan: &Plan| plan.sails[0].weights.iter().position(|weight| weight.name.contains("attn_q")).unwrap();
    let edit = |change: fn(&mut sailplan_codegen::Resident)| {
        move |plan: &mut Plan| {
            let place = q(plan);
            change(&mut plan.sails[0].weights[place]);
        }
    };
    let place = format!("sail0.weights[{}]", q(&plan_of("streamed")));
    refused("streamed", edit(|weight| weight.stride = Bytes(64)), &place, "no weight whose layers share a place");
    refused("streamed", edit(|weight| weight.offset = Bytes(0)), "sail0.weights", "overlap");
    refused("streamed", edit(|weight| weight.streamed = false), "sail0.weights", "overlap");
    refused("streamed", edit(|weight| weight.offset = Bytes(1 << 40)), &place, "outside its arena");
    let cache = |plan: &mut Plan| plan.sails[0].caches[0].streamed = true;
    refused("streamed", cache, "sail0.caches[0]", "no weight whose layers share a place");
    let loaded = |plan: &mut Plan| {
        let weight = plan.sails[0].weights[q(plan)].clone();
        plan.sails[0].load[0].weight = weight.name;
        plan.sails[0].load[0].layers = weight.layers;
    };
    refused("streamed", loaded, "sail0.load[0]", "no weight of these layers");
}

#[test]
fn of_sizes() {
    let buffer = |plan: &mut Plan| plan.sails[0].prefill.buffers[1].bytes = Bytes(1 << 50);
    refused("one", buffer, "sail0.prefill.buffers[1]", "its shape says");
    let wide = |plan: &mut Plan| plan.sails[0].prefill.buffers[1].columns = u64::MAX;
    refused("one", wide, "sail0.prefill.buffers[1]", "its shape says None");
    let far = |plan: &mut Plan| plan.sails[0].prefill.buffers[1].offset = Bytes(u64::MAX - 63);
    refused("one", far, "sail0.prefill.buffers[1]", "outside the activation arena");
    let scratch = |plan: &mut Plan| plan.sails[0].memory.scratch = Bytes(0);
    refused("reduce", scratch, "sail0.prefill[2]", "arrive at once");
}

#[test]
fn of_repeats() {
    let repeat = |layers: std::ops::Range<u32>| {
        move |plan: &mut Plan| {
            let Instruction::Repeat { layers: own, .. } = &mut plan.sails[0].prefill.instructions[2] else { panic!() };
            own.0 = layers.clone();
        }
    };
    refused("one", repeat(0..u32::MAX), "sail0.prefill[2]", "too much");
    refused("one", repeat(3..3), "sail0.prefill[2]", "repeats nothing");
    refused("one", repeat(0..2), "sail0.prefill[3]", "the model has no last_token of `x_ffn`");
    refused("one", repeat(1..3), "sail0.prefill[2].body[0] in layer 1", "the model has no rms_norm");
    let nested = |plan: &mut Plan| {
        let inner = plan.sails[0].prefill.instructions[2].clone();
        body(plan, 0).push(inner);
    };
    refused("one", nested, "sail0.prefill[2].body[14]", "a repeat inside a repeat");
}

#[test]
fn of_kernels() {
    let edit = |name: &'static str,
                wanted: &'static str,
                change: fn(&mut Vec<String>, &mut Vec<String>, &mut String)| {
        move |plan: &mut Plan| {
            let kernel =
                first(plan, 0, |instruction| op_is(instruction, name) && format!("{instruction:?}").contains(wanted));
            let Instruction::Kernel { inputs, weights, out, .. } = kernel else { return };
            change(inputs, weights, out);
        }
    };
    let at = |index: usize| format!("sail0.prefill[2].body[{index}] in layer 0");
    let unknown = edit("linear", "attn_q", |inputs, _, _| inputs[0].push('x'));
    refused("one", unknown, "sail0.prefill[2].body[1]", "no buffer is called");
    let wrong = edit("linear", "attn_q", |_, weights, _| weights[0] = "blk.{layer}.attn_output.weight".to_owned());
    refused("one", wrong, &at(1), "the model has no linear of");
    let unwritten = edit("linear", "attn_q", |inputs, _, _| inputs[0] = "layer.ffn_norm".to_owned());
    refused("one", unwritten, &at(1), "to which nothing was written");
    let early = |plan: &mut Plan| {
        let body = body(plan, 0);
        let append = body.iter().position(|instruction| op_is(instruction, "kv_append")).unwrap();
        body.remove(append);
    };
    refused("one", early, &at(5), "the model has no attention");
    let shape = edit("linear", "attn_k", |_, _, out| *out = "layer.attn_k".to_owned());
    refused("one", shape, &at(1), "has not the shape");
}

/// The products beside that of q, and the weights of the first one.
fn beside(plan: &mut Plan) -> (&mut Vec<Product>, &mut Vec<String>, &mut Op) {
    let joint =
        |instruction: &Instruction| matches!(instruction, Instruction::Kernel { beside, .. } if beside.len() == 2);
    match first(plan, 0, joint) {
        Instruction::Kernel { beside, weights, op, .. } => (beside, weights, op),
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_joint_kernels() {
    let at = |index: usize| format!("sail0.prefill[2].body[{index}] in layer 0");
    let read = "sail0.prefill[2].body[1]";
    let exchanged = |plan: &mut Plan| {
        let (products, ..) = beside(plan);
        let weight = std::mem::take(&mut products[0].weight);
        products[0].weight = std::mem::replace(&mut products[1].weight, weight);
    };
    refused("one", exchanged, &at(3), "the model has no rope of `attn_v`");
    let another = |plan: &mut Plan| "blk.{layer}.ffn_up.weight".clone_into(&mut beside(plan).0[0].weight);
    refused("one", another, &at(1), "the model has no linear of `attn_norm` of layer 0, `blk.0.ffn_up.weight`");
    refused("one", |plan| drop(beside(plan).0.pop()), &at(5), "to which nothing was written");
    let twice = |plan: &mut Plan| {
        let product = beside(plan).0[0].clone();
        beside(plan).0.push(product);
    };
    refused("one", twice, &at(1), "changes nothing");
    let one_place = |plan: &mut Plan| {
        let buffers = &mut plan.sails[0].prefill.buffers;
        let offset = buffers.iter().find(|buffer| buffer.name == "layer.attn_k").unwrap().offset;
        buffers.iter_mut().find(|buffer| buffer.name == "layer.attn_v").unwrap().offset = offset;
    };
    refused("one", one_place, &at(1), "two results of one kernel share a place");
    let shape = |plan: &mut Plan| "layer.attn_q".clone_into(&mut beside(plan).0[0].out);
    refused("one", shape, &at(1), "has not the shape");
    let unknown = |plan: &mut Plan| beside(plan).0[0].weight.push('x');
    refused("one", unknown, read, "no weight is called");
    let nowhere = |plan: &mut Plan| beside(plan).0[0].out.push('x');
    refused("one", nowhere, read, "no buffer is called");
    let other = |plan: &mut Plan| *beside(plan).2 = Op::Bias;
    refused("one", other, read, "bias has products beside it, which only a product has");
    refused("one", |plan| beside(plan).1.clear(), read, "linear has products beside it, which only a product has");
}

#[test]
fn of_collectives() {
    let collective = |plan: &mut Plan, change: fn(&mut Instruction)| {
        change(first(plan, 1, |instruction| matches!(instruction, Instruction::Collective { .. })));
    };
    let other = |plan: &mut Plan| {
        collective(plan, |instruction| {
            let Instruction::Collective { algorithm, .. } = instruction else { return };
            *algorithm = Algorithm::Ring;
        });
    };
    refused("reduce", other, "sail0.prefill[3].body[8] in layer 0", "sail1 does another collective");
    let group = |plan: &mut Plan| {
        collective(plan, |instruction| {
            let Instruction::Collective { group, .. } = instruction else { return };
            group.reverse();
        });
    };
    refused("reduce", group, "sail1.prefill[3].body[8]", "its group is");
    let dropped =
        |plan: &mut Plan| body(plan, 1).retain(|instruction| !matches!(instruction, Instruction::Collective { .. }));
    refused("reduce", dropped, "sail1.prefill[3].body[8] in layer 0", "reads a partial sum");
}

/// The first two buffers by rows are a slice of the residual and what the first sum is scattered to.
#[test]
fn of_rows() {
    #[track_caller]
    fn refused(change: impl Fn(&mut Plan), words: &str) {
        let mut plan = plan_of("rows");
        sound(&plan);
        change(&mut plan);
        let problems = plan.problems();
        assert!(problems.0.first().is_some_and(|first| first.message.contains(words)), "{problems}");
    }
    let rows = |plan: &mut Plan, place: usize, to: &str| {
        let buffers = plan.sails[0].prefill.buffers.iter_mut().filter(|buffer| matches!(buffer.rows, Dim::Part(_)));
        buffers.skip(place).take(1).for_each(|buffer| buffer.rows = Dim::Part(to.parse().unwrap()));
    };
    refused(|plan| rows(plan, 1, "1..2 of 2"), "have not the shapes that its parts say");
    refused(|plan| rows(plan, 1, "0..1 of 4"), "its shape says");
    refused(|plan| rows(plan, 0, "1..2 of 2"), "operands have different rows: 1..2 of 2 and 0..1 of 2");
    let parts = |plan: &mut Plan| {
        let scatter = first(plan, 0, |instruction| matches!(instruction, Instruction::Collective { .. }));
        let Instruction::Collective { parts, .. } = scatter else { return };
        *parts = vec![1, 2];
    };
    refused(parts, "have not the shapes that its parts say");
    let cut = |plan: &mut Plan| {
        let slice = first(plan, 0, |instruction| matches!(instruction, Instruction::Slice { .. }));
        let Instruction::Slice { end, .. } = slice else { return };
        *end -= 1;
    };
    refused(cut, "cuts rows 0..1 of 2 out of all of");
    let model = |plan: &mut Plan| plan.model.classes[1].tensors[0].dims[0] = Dim::Part("0..1 of 2".parse().unwrap());
    refused(model, "has an axis of tokens 0..1 of 2; a model has all tokens");
}

#[test]
fn of_messages() {
    let send = |plan: &mut Plan| {
        let program = &mut plan.sails[0].prefill.instructions;
        program.retain(|instruction| !matches!(instruction, Instruction::Send { .. }));
    };
    refused("pipeline", send, "sail1.prefill[0]", "waits for sail0 to send with tag 1, for ever");
    let unread = |plan: &mut Plan| {
        let program = &mut plan.sails[0].prefill.instructions;
        let mut again = program.last().unwrap().clone();
        if let Instruction::Send { tag, .. } = &mut again {
            *tag = 9;
        }
        program.push(again);
    };
    refused("pipeline", unread, "sail0.prefill", "sail1 never receives what is sent with tag 9");
    let again = |plan: &mut Plan| {
        let program = &mut plan.sails[0].prefill.instructions;
        let send = program.last().unwrap().clone();
        program.push(send);
    };
    refused("pipeline", again, "sail0.prefill[4]", "a second time");
    let itself = |plan: &mut Plan| {
        if let Some(Instruction::Send { peer, .. }) = plan.sails[0].prefill.instructions.last_mut() {
            *peer = SailId(0);
        }
    };
    refused("pipeline", itself, "sail0.prefill[3]", "sail0 is no other Sail");
    let late = |plan: &mut Plan| {
        let program = &mut plan.sails[2].prefill.instructions;
        program.remove(0);
    };
    refused("pipeline", late, "sail2.prefill[0].body[0] in layer 1", "nothing was written");
}

#[test]
fn of_logits() {
    let dropped = |plan: &mut Plan| drop(plan.sails[1].decode.instructions.pop());
    refused("reduce", dropped, "decode", "every column of the logits once");
    let shifted = |plan: &mut Plan| {
        if let Some(Instruction::HostSend { start, .. }) = plan.sails[1].decode.instructions.last_mut() {
            *start = 0;
        }
    };
    refused("reduce", shifted, "sail1.decode[7]", "gives column 0 for column 25");
}

#[test]
fn all_problems_are_told_at_once() {
    let mut plan = plan_of("reduce");
    plan.sails[0].memory.kv = Bytes(u64::MAX);
    plan.sails[1].caches[0].bytes = Bytes(7);
    plan.sails[1].weights[0].offset = Bytes(1);
    assert_eq!(plan.problems().0.len(), 3, "{}", plan.problems());
}

/// The kernel that makes gate, up and their activation in one, and its place in the body.
fn fused(plan: &mut Plan) -> (&mut Op, &mut Vec<String>, &mut Vec<String>, &mut u64) {
    match first(plan, 0, |instruction| op_is(instruction, "linear_swiglu")) {
        Instruction::Kernel { op, inputs, weights, skip, .. } => (op, inputs, weights, skip),
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_fused_kernels() {
    let place = "sail0.prefill[3].body[11] in layer 0";
    refused("fused", |plan| fused(plan).2.swap(0, 1), place, "the model has no swiglu of `ffn_up`");
    refused("fused", |plan| *fused(plan).0 = Op::LinearGeGlu, place, "the model has no geglu of `ffn_gate`");
    refused("fused", |plan| *fused(plan).0 = Op::Linear, place, "the model has no linear of");
    let one_matrix = |plan: &mut Plan| {
        let weights = fused(plan).2;
        weights[1] = weights[0].clone();
    };
    refused("fused", one_matrix, place, "the model has no swiglu of `ffn_gate`");
    let another_x = |plan: &mut Plan| "x".clone_into(&mut fused(plan).1[0]);
    refused("fused", another_x, place, "the model has no linear of");
    refused("fused", |plan| drop(fused(plan).2.pop()), place, "the model has no linear_swiglu of");
    refused("fused", |plan| *fused(plan).3 = 1, place, "skips 1 query heads");
    let read_twice = |plan: &mut Plan| {
        let class = &mut plan.model.classes[1];
        let act = class.nodes.iter().position(|node| node.op == Op::SwiGlu).unwrap();
        let gate = class.nodes[act].inputs[0].clone();
        let mut more = class.tensors.iter().find(|tensor| tensor.name == gate).unwrap().clone();
        let mut node = class.nodes[act].clone();
        "more".clone_into(&mut more.name);
        (node.op, node.inputs, node.out) = (Op::Add, vec![gate.clone(), gate], more.name.clone());
        class.tensors.push(more);
        class.nodes.insert(act, node);
    };
    refused("fused", read_twice, place, "no linear_swiglu makes `ffn_act` of layer 0");
    let products = |plan: &mut Plan| {
        let nodes = &mut plan.model.classes[1].nodes;
        let act = nodes.iter().position(|node| node.op == Op::SwiGlu).unwrap();
        let operands = [&nodes[act - 2].inputs[..], &nodes[act - 1].inputs[1..]].concat();
        (nodes[act].op, nodes[act].inputs) = (Op::LinearSwiGlu, operands);
    };
    refused("fused", products, "model.classes.layer", "one by one");
}
