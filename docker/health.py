"""Say whether a service answers: ``health.py URL [COMPONENT]``; exit code 0 if it does.

COMPONENT is a part of Airflow that the answer of the API server must call healthy.
"""

import json
import sys
import urllib.request

url, *components = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(url, timeout=5) as answer:
    body = answer.read()
states = {component: json.loads(body)[component]["status"] for component in components}
sys.exit(None if set(states.values()) <= {"healthy"} else str(states))
