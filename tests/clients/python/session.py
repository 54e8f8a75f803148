"""Plays a session against a running wallet, as an engine written in Python would, and checks every answer.

Usage: session.py ADDRESS, with the modules that grpcio-tools makes of proto/wallet.proto on PYTHONPATH.
The wallet must be a new one.
"""

import sys
import time

import grpc
from google.protobuf import descriptor_pool, timestamp_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

import wallet_pb2 as pb
import wallet_pb2_grpc as pb_grpc

SERVICE = "wallet.v1.WalletService"
USER = 123123
# Far longer than any call takes: a call that needs it hangs.
TIMEOUT_S = 20


def refused(call, request):
    """The status code, message, reason and metadata with which a call is refused."""
    try:
        answer = call(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        (detail,) = rpc_status.from_call(error).details
        info = error_details_pb2.ErrorInfo()
        assert detail.Unpack(info), detail
        assert info.domain == "wallet.v1", info
        return error.code(), error.details(), info.reason, dict(info.metadata)
    raise AssertionError(f"not refused: {answer}")


def unary_calls(wallet):
    def call(method, request):
        return method(request, timeout=TIMEOUT_S)

    opening = pb.CreateWalletRequest(user_id=USER, opening_balance_minor=1000)
    created = call(wallet.CreateWallet, opening)
    assert (created.user_id, created.balance_minor, created.sequence) == (USER, 1000, 1), created
    assert call(wallet.CreateWallet, opening) == created

    charge = pb.ChargeRequest(user_id=USER, event_id=321123, amount_minor=100)
    first = call(wallet.Charge, charge)
    assert (first.balance_minor, first.current_balance_minor, first.replayed) == (900, 900, False), first
    won = call(wallet.Win, pb.WinRequest(user_id=USER, winning_event_id=312123321, amount_minor=1000))
    assert won.balance_minor == 1900, won
    again = call(wallet.Charge, charge)
    assert again == pb.ChargeResponse(
        user_id=USER,
        balance_minor=900,
        replayed=True,
        current_balance_minor=1900,
        entry_id=first.entry_id,
        sequence=2,
    ), again

    back = call(wallet.Rollback, pb.RollbackRequest(user_id=USER, event_id=321123))
    assert (back.applied, back.balance_minor) == (True, 2000), back
    barred = call(wallet.Rollback, pb.RollbackRequest(user_id=USER, event_id=777))
    assert (barred.applied, barred.balance_minor) == (False, 2000), barred
    # A win that never came is barred as well.
    barred = call(wallet.Rollback, pb.RollbackRequest(user_id=USER, winning_event_id=777))
    assert (barred.applied, barred.balance_minor) == (False, 2000), barred
    put_in = call(wallet.Deposit, pb.DepositRequest(user_id=USER, transaction_id=1, amount_minor=50))
    assert put_in.balance_minor == 2050, put_in
    taken_out = call(wallet.Withdraw, pb.WithdrawRequest(user_id=USER, transaction_id=1, amount_minor=50))
    assert taken_out.balance_minor == 2000, taken_out

    now = call(wallet.GetWallet, pb.GetWalletRequest(user_id=USER))
    assert (now.wallet_id, now.balance_minor, now.sequence) == (created.wallet_id, 2000, 8), now
    then = call(wallet.GetWallet, pb.GetWalletRequest(user_id=USER, at=created.create_time))
    assert then.balance_minor == 1000, then
    before = timestamp_pb2.Timestamp(seconds=created.create_time.seconds - 60)
    code, *_ = refused(wallet.GetWallet, pb.GetWalletRequest(user_id=USER, at=before))
    assert code == grpc.StatusCode.NOT_FOUND, code

    entries, token = [], ""
    while True:
        request = pb.ListEntriesRequest(user_id=USER, page_size=3, page_token=token)
        page = call(wallet.ListEntries, request)
        entries, token = entries + list(page.entries), page.next_page_token
        if not token:
            break
    assert [entry.sequence for entry in entries] == [8, 7, 6, 5, 4, 3, 2, 1], entries
    assert entries[0].kind == pb.ENTRY_KIND_WITHDRAWAL, entries[0]

    checkpoint = call(wallet.GetCheckpoint, pb.GetCheckpointRequest())
    assert checkpoint.entry_id == 8 and len(checkpoint.hash) == 32, checkpoint
    assert checkpoint.text == f"{checkpoint.commit_id}:{checkpoint.hash.hex()}", checkpoint


def errors_with_details(wallet):
    code = grpc.StatusCode

    def charge(event_id, amount_minor, user_id=USER):
        return pb.ChargeRequest(user_id=user_id, event_id=event_id, amount_minor=amount_minor)

    cases = [
        (charge(1, -1), code.INVALID_ARGUMENT, "Amount value is negative", "NEGATIVE_AMOUNT", {}),
        (charge(1, 1, user_id=404), code.NOT_FOUND, "Unknown user", "UNKNOWN_USER", {}),
        (charge(777, 1), code.FAILED_PRECONDITION, "Event has been rolled back", "ROLLED_BACK", {}),
        (
            charge(1, 2001),
            code.FAILED_PRECONDITION,
            "Account balance is too low",
            "BALANCE_TOO_LOW",
            {"balance_minor": "2000"},
        ),
    ]
    for request, *expected in cases:
        answer = refused(wallet.Charge, request)
        assert answer == tuple(expected), answer

    conflict = refused(wallet.Win, pb.WinRequest(user_id=USER, winning_event_id=312123321, amount_minor=1))
    message = "Request has a conflict with existing data."
    assert conflict == (code.ALREADY_EXISTS, message, "EVENT_CONFLICT", {"recorded_amount_minor": "1000"}), conflict

    status, _, reason, _ = refused(wallet.Charge, charge(-1, 1))
    assert (status, reason) == (code.INVALID_ARGUMENT, "INVALID_REQUEST"), (status, reason)

    # A field that was forgotten is refused and named, and does not use up the event.
    forgotten = refused(wallet.Charge, pb.ChargeRequest(user_id=USER, event_id=9))
    message = "amount_minor is missing from the request"
    assert forgotten == (code.INVALID_ARGUMENT, message, "INVALID_REQUEST", {}), forgotten


def stream(wallet):
    """Thousands of commands without waiting; one answer each, in order, refusals among them."""
    count, user = 20_000, 2
    wallet.CreateWallet(pb.CreateWalletRequest(user_id=user, opening_balance_minor=count), timeout=TIMEOUT_S)

    def commands():
        for event in range(count):
            if event % 1000 == 999:
                yield pb.TransactRequest()
            else:
                yield pb.TransactRequest(charge=pb.ChargeRequest(user_id=user, event_id=event, amount_minor=2))

    expected = count
    answers = 0
    for event, answer in enumerate(wallet.Transact(commands(), timeout=TIMEOUT_S)):
        answers += 1
        if event % 1000 == 999:
            assert answer.refused.reason == "INVALID_REQUEST", answer
        elif expected >= 2:
            expected -= 2
            assert answer.applied.balance_minor == expected, (event, answer)
            assert answer.applied.applied and not answer.applied.replayed, answer
        else:
            assert answer.refused.reason == "BALANCE_TOO_LOW", (event, answer)
            assert answer.refused.message == "Account balance is too low", answer
            assert dict(answer.refused.metadata) == {"balance_minor": str(expected)}, answer
    assert answers == count, answers
    left = wallet.GetWallet(pb.GetWalletRequest(user_id=user), timeout=TIMEOUT_S)
    assert left.balance_minor == 0, left


def deadlines(wallet):
    # A deadline that has passed.
    charge = pb.ChargeRequest(user_id=USER, event_id=55, amount_minor=1)
    try:
        wallet.Charge(charge, timeout=-1)
        raise AssertionError("answered before it was asked")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    assert not wallet.Charge(charge, timeout=TIMEOUT_S).replayed

    # However a race against the clock ends, sending the command again gets its answer.
    for event in range(100, 150):
        charge = pb.ChargeRequest(user_id=USER, event_id=event, amount_minor=1)
        try:
            wallet.Charge(charge, timeout=0.0005)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
        wallet.Charge(charge, timeout=TIMEOUT_S)
        assert wallet.Charge(charge, timeout=TIMEOUT_S).replayed
    left = wallet.GetWallet(pb.GetWalletRequest(user_id=USER), timeout=TIMEOUT_S)
    assert left.balance_minor == 2000 - 51, left

    # A stream on which nothing happens ends with its deadline.
    def silence():
        time.sleep(2)
        yield from ()

    started = time.monotonic()
    try:
        list(wallet.Transact(silence(), timeout=0.3))
        raise AssertionError("the stream outlived its deadline")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    assert time.monotonic() - started < 2


def health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ["", SERVICE]:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, answer
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=TIMEOUT_S)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    try:
        stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=TIMEOUT_S)
        raise AssertionError("an unknown service has no health")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error


def reflection(channel):
    # What the service says of itself is the contract.
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    listed = {method.name for method in pool.FindServiceByName(SERVICE).methods}
    promised = {method.name for method in pb.DESCRIPTOR.services_by_name["WalletService"].methods}
    assert listed == promised, listed ^ promised

    # The messages of v1 are those of v1alpha under another name.
    ask = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    request = reflection_pb2.ServerReflectionRequest(list_services="*")
    (answer,) = ask(iter([request]), timeout=TIMEOUT_S)
    services = {service.name for service in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= services, services


def main():
    (address,) = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(TIMEOUT_S)
        wallet = pb_grpc.WalletServiceStub(channel)
        unary_calls(wallet)
        errors_with_details(wallet)
        stream(wallet)
        deadlines(wallet)
        health(channel)
        reflection(channel)


if __name__ == "__main__":
    main()
