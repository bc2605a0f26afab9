"""The tools: what a model may ask for, as declarations, checked calls, and a confined worker for files."""

from localgpt.tools.calls import (
    Call,
    EditFileCall,
    FileCall,
    HostedCall,
    ListFilesCall,
    ReadFileCall,
    SearchTextCall,
    ShellCall,
    WriteFileCall,
    parse_call,
    shown_argv,
)
from localgpt.tools.declarations import ANSWER, DECLARATIONS, call_schema
from localgpt.tools.fields import ToolArgumentError
from localgpt.tools.files import FileReply, into_place, preview_request, worker_argv, worker_reply, worker_request

__all__ = [
    "ANSWER",
    "DECLARATIONS",
    "Call",
    "EditFileCall",
    "FileCall",
    "FileReply",
    "HostedCall",
    "ListFilesCall",
    "ReadFileCall",
    "SearchTextCall",
    "ShellCall",
    "ToolArgumentError",
    "WriteFileCall",
    "call_schema",
    "into_place",
    "parse_call",
    "preview_request",
    "shown_argv",
    "worker_argv",
    "worker_reply",
    "worker_request",
]
