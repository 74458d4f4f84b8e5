import pytest
from tests.api import fuzzing
from tests.api.conftest import PartnerClient
from tests.factories import make_organization, make_mac
from tests.operations.work import start, done
from schemathesis.core.failures import FailureGroup
@pytest.mark.django_db
@pytest.mark.filterwarnings("ignore")
def test_f():
    p=PartnerClient(make_organization())
    op=done(start(p.organization,f"mac,model\n{make_mac()},CP-8841\n"))
    bad=[]
    with fuzzing._one_connection():
        for o in fuzzing.operations(fuzzing.load()):
            if "/operations/" in o.path:
                try: fuzzing.fuzz(o,key=p.key,present={"operation_id":op.pk},examples=25)
                except (Exception,FailureGroup) as e:
                    bad.append(o.label+str(e)+"".join(f"\n {type(x).__name__} {x}" for x in getattr(e,"exceptions",()))[:1500])
    assert not bad, "\n".join(bad)
