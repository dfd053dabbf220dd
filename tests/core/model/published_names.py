"""What published checkpoints of TPN call the entries of our networks."""

import re


def neck_entry(name, levels):
    """A TPN neck's entry, without its prefix, under our name; mmaction2's go through the official ones."""
    for pattern, replacement in (
        (r"level_fusion_1\.", "level_fusion_op2."),
        (r"level_fusion_2\.", "level_fusion_op."),
        (r"\.downsamples\.(\d)\.conv\.conv\.", r".ops.\1.conv."),
        (r"\.downsamples\.(\d)\.conv\.bn\.", r".ops.\1.norm."),
        (r"fusion_conv\.conv\.", "fusion_conv.0."),
        (r"fusion_conv\.bn\.", "fusion_conv.1."),
        (r"(temporal_modulation_ops\.\d)\.conv\.conv\.", r"\1.conv."),
        (r"downsample_ops\.(\d)\.conv\.conv\.", r"downsampling_ops.\1.conv."),
        (r"pyramid_fusion\.conv\.", "pyramid_fusion_op.0."),
        (r"pyramid_fusion\.bn\.", "pyramid_fusion_op.1."),
        (r"spatial_modulation\.spatial_modulation\.(\d)\.(\d)\.", r"spatial.<\1>.\2."),
        (r"temporal_modulation_ops\.(\d)\.conv\.", r"temporal.<\1>."),
        (r"downsampling_ops\.(\d)\.conv\.", r"bottom_up.<\1>."),
        (r"level_fusion_op2\.", "fusion.top_down."),
        (r"level_fusion_op\.", "fusion.bottom_up."),
        (r"\.ops\.(\d)\.conv\.", r".levels.<\1>.conv."),
        (r"\.ops\.(\d)\.norm\.", r".levels.<\1>.bn."),
        (r"fusion_conv\.0\.", "project.conv."),
        (r"fusion_conv\.1\.", "project.bn."),
        (r"pyramid_fusion_op\.0\.", "pyramid_fusion.conv."),
        (r"pyramid_fusion_op\.1\.", "pyramid_fusion.bn."),
    ):
        name = re.sub(pattern, replacement, name)
    return re.sub(r"<(\d)>", lambda found: levels[int(found[1])], name)


def network_entry(name, levels):
    """An entry of a whole TPN of decisionforce/TPN under our name."""
    for theirs, ours in (
        ("necks.aux_head.convs.", "auxiliary_head.reduce."),
        ("necks.aux_head.fc.", "auxiliary_head.head.linear.action."),
        ("cls_head.fc_cls.", "head.linear.action."),
    ):
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    if name.startswith("necks."):
        return "pyramid." + neck_entry(name.removeprefix("necks."), levels)
    return name
