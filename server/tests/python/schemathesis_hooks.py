"""What schemathesis is told about bodies that it does not know: SDP is text.

    SCHEMATHESIS_HOOKS=schemathesis_hooks.py schemathesis run http://127.0.0.1:1985/api/v1/openapi.json
"""

import schemathesis

schemathesis.serializer.alias(["application/sdp", "application/trickle-ice-sdpfrag"], "text/plain")
