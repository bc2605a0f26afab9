"""What a person reads when a request is decided. Foreign text is escaped and bounded; no sentence blames or guesses."""

from __future__ import annotations

import shlex
from typing import Final

from localgpt.policy.authority import Act
from localgpt.policy.model import CallModel, Code, Connect, Effect, ReadPath, Run, WritePath

_LONGEST: Final = 200

_SENTENCES: Final = {
    Code.READ_PLAN: "{what} lies inside a folder that this session may read.",
    Code.READ_OUTSIDE: "{what} lies outside the folders of this session.",
    Code.READ_SECRET: "{what} is where keys, tokens or private data are kept; the agent never reads it.",
    Code.WRITE_PROJECT: "{what} lies inside the trusted project.",
    Code.WRITE_UNTRUSTED_PROJECT: "{what} lies in a project that is not trusted, so it is read-only.",
    Code.WRITE_OUTSIDE: "{what} lies outside the folders that this session may change.",
    Code.WRITE_WORKSPACE: "{what} belongs to the agent's own workspace.",
    Code.WRITE_PERSONA: "{what} shapes how the agent behaves in every later session.",
    Code.WRITE_INSTRUCTIONS: "{what} holds instructions or hooks that other agents and tools obey.",
    Code.WRITE_PROTECTED: "{what} could loosen the sandbox or outlive it; no tool changes it.",
    Code.WRITE_TAINTED: "{what} would be changed after strangers were heard, and that cannot be undone yet.",
    Code.WRITE_SECRET: "{what} is where keys, tokens or private data are kept; no tool changes it.",
    Code.RUN_CONFINED: "{what} runs in the sandbox.",
    Code.RUN_READ_ONLY: "{what} runs in the sandbox, read-only: the project is not trusted.",
    Code.RUN_NOT_UNDERSTOOD: "{what} cannot be compared with your argv rules before it runs.",
    Code.RUN_EMPTY: "There is no command to run.",
    Code.CONNECT_HOST: "{what} would receive whatever the agent sends.",
    Code.CONNECT_LOCAL: "{what} is this machine or its private network, where services trust their neighbours.",
    Code.CONNECT_METADATA: "{what} hands out the credentials of cloud machines; no tool reaches it.",
    Code.CONNECT_BAD_HOST: "{what} is spelled so that two programs could read two different hosts.",
    Code.CONNECT_CLEARANCE: "The conversation holds something secret, and {what} may not receive it.",
    Code.MODEL_LOCAL: "{what} runs on this machine.",
    Code.MODEL_HOSTED_CONFIRMED: "{what} was configured or confirmed by you.",
    Code.MODEL_HOSTED: "{what} would receive the whole conversation.",
    Code.MODEL_CLEARANCE: "The conversation holds something secret, and {what} may not receive it.",
    Code.TOOL_UNKNOWN: "{what} is not declared here: nobody knows what it does.",
    Code.REQUEST_NO_EFFECT: "{what} does not say what it would do.",
    Code.PATH_UNRESOLVED: "{what} is not a plain absolute path.",
    Code.RULE_ALLOW: "Your policy allows it: {what}.",
    Code.RULE_ASK: "Your policy asks first: {what}.",
    Code.RULE_DENY: "Your policy refuses it: {what}.",
    Code.POLICY_LOCKED: (
        "{what} is refused: a policy was signed here and its record is damaged, so nobody knows what it denied. "
        "Check LocalGPT.md and run `localgpt sign`."
    ),
    Code.FLOW_READ: "{what} only looks something up.",
    Code.FLOW_ACT: "{what} does what you asked for, with values that you or your own records gave.",
    Code.FLOW_UNDECLARED: "Nobody declared what {what} does, so it counts as telling a stranger everything.",
    Code.FLOW_GRANT: "It is not certain that your request asks for this: {what}.",
    Code.FLOW_GRANT_MISSING: (
        "Your request does not ask for this ({what}), and strangers' words are in the conversation. "
        "Ask for it to have it done."
    ),
    Code.FLOW_DEST: "You did not name who would receive this: {what}.",
    Code.FLOW_DEST_FOREIGN: (
        "Only a stranger's words name who would receive this: {what}. Name it yourself if you want it."
    ),
    Code.FLOW_REF: "You did not name what this would touch: {what}.",
    Code.FLOW_REF_FOREIGN: (
        "Only a stranger's words name what this would touch: {what}. Name it yourself if you want it."
    ),
    Code.FLOW_VALUE: "You did not give this value: {what}.",
    Code.FLOW_VALUE_FOREIGN: "Only a stranger's words give this value: {what}. Give it yourself if you want it.",
    Code.FLOW_LINK: "The text would carry an address that you did not give: {what}.",
    Code.FLOW_LINK_FOREIGN: "The text would carry a stranger's address: {what}. Name it yourself if it should go out.",
    Code.FLOW_CLEARANCE: "Private data are in the conversation, and this receiver was not cleared for them: {what}.",
    Code.FLOW_UNASKED: "Private data were read that you did not ask for, and this receiver is not yours: {what}.",
    Code.FLOW_SECRET: "Something secret is in the conversation; it goes to nobody unknown: {what}.",
    Code.FLOW_SECRET_NAMED: "Something secret is in the conversation, and it would go out: {what}.",
    Code.FLOW_LIMIT: "You did not give this amount, and it is above your policy's limit: {what}.",
    Code.FLOW_LIMIT_FOREIGN: "A stranger's words give this amount, and it is above your policy's limit: {what}.",
    Code.FLOW_REPEAT: "Exactly this was already done in this task: {what}.",
    Code.FLOW_LEAK: "The order of fetched addresses can tell something; the budget for that is used up: {what}.",
    Code.FLOW_LEAK_SECRET: "Something secret is in the conversation; which address is fetched could tell it: {what}.",
    Code.FLOW_QUARANTINE: "You refused what this source wants twice; nobody is asked about it any more: {what}.",
}


def explain(code: Code, what: str, reason: str = "") -> str:
    """One sentence for `code` about `what`, with the reason that the user's rule gives."""
    sentence = _SENTENCES[code].format(what=shown(what))
    return f"{sentence} ({shown(reason)})" if reason else sentence


def describe(effect: Effect) -> str:
    """The subject of an effect in a few words."""
    if isinstance(effect, (ReadPath, WritePath)):
        return effect.path
    if isinstance(effect, Run):
        return f"`{shlex.join(effect.argv)}`"
    if isinstance(effect, Connect):
        return effect.host if effect.port is None else f"{effect.host} port {effect.port}"
    if isinstance(effect, CallModel):
        return f"the model provider {effect.provider} at {effect.host}"
    if isinstance(effect, Act):
        return f"the tool {effect.spec.name}"
    return f"the tool {effect.name}"


def shown(text: str) -> str:
    """`text` with everything unprintable escaped, and cut in the middle when it is long."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 60]} … {text[-50:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
